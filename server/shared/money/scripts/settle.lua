-- What an answer has cost, or what it may have cost while that is looked up. Each answer counts once, in its own book.
--
-- `own` 1 from whoever began it, 0 from who took it up when that one was lost; `final` 1 when nothing more will be
-- learned; `day`, `model`; `nano` what it counts, null for what counts nothing; `told` 1 when upstream has stated that;
-- `generation`; `prompt_tokens`, `completion_tokens`.
-- Who began it may settle what has no record, as nobody else knows of it. Who took it up may only while it holds it.
-- Answers: ok; settled (what it was settled with, JSON); gone; late; unknown.

if is_late() then return {'late', now} end
local before = redis.call('HGET', settled, a.id)
if before then return {'settled', now, before} end
local record = record_of(a.id)
if is_unknown() then return {'unknown', now} end
if a.own == 0 and (not record or record.w ~= a.rid) then return {'gone', now} end

local was_counted = record ~= nil and record.k == 1
local nano = a.nano ~= cjson.null and tonumber(a.nano) or nil
if nano == nil and a.final == 1 and was_counted and a.own == 0 then nano = tonumber(record.n) end
local figures = {requests = 0, cost_nano = 0, settled_nano = 0, unsettled = 0, prompt_tokens = 0, completion_tokens = 0}
if nano then
  local is_told = a.final == 1 and a.told == 1
  figures.requests = 1
  figures.cost_nano = nano
  figures.settled_nano = is_told and nano or 0
  figures.unsettled = is_told and 0 or 1
  figures.prompt_tokens = tonumber(a.prompt_tokens)
  figures.completion_tokens = tonumber(a.completion_tokens)
end
local whole = {m = was_counted and record.m or a.model, d = record and record.d or a.day}
for name, number in pairs(figures) do whole[name] = digits(number) end
if was_counted then
  figures.requests = figures.requests - 1
  figures.cost_nano = figures.cost_nano - tonumber(record.n)
  figures.unsettled = figures.unsettled - 1
end
count(a.book, whole.m, figures)
if record then take_out(a.id, record) end
if a.final == 1 then
  redis.call('HSET', settled, a.id, cjson.encode(whole))
else
  put(a.id, {
    d = a.day, n = a.nano, k = 1, o = 1, r = 0, b = a.book, w = a.rid, g = a.generation, m = whole.m,
  })
end
keep_alive()
return {'ok', now}
