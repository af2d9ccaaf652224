-- Takes up the answers of one that is lost: they run no more, and what they hold stays held until they are settled.
-- One that upstream had not accepted costs nothing.
--
-- `lost` whose.
-- Answers: ok (id, record, id, record, ...); unknown.

if is_unknown() then return {'unknown', now} end
local taken = {'ok', now}
local records = redis.call('HGETALL', open)
for i = 1, #records, 2 do
  local id, record = records[i], cjson.decode(records[i + 1])
  if record.w == a.lost then
    take_out(id, record)
    if record.o == 1 then
      record.r, record.w = 0, a.rid
      put(id, record)
      taken[#taken + 1] = id
      taken[#taken + 1] = cjson.encode(record)
    end
  end
end
return taken
