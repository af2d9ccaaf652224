-- Adds to the copies of many answers what follows on what stands there; what does not follow changes nothing.
-- KEYS: for each answer its meta and its log.
-- ARGV: the process; six numbers for each answer, all in one list in MessagePack; bytes of all, in that order. So few
--       words cost the sender least. The numbers: which event it follows, the number of the last event, size of the
--       events, size of what has changed of the answer, life of the keys in ms or 0, how it has ended: 0 for not, 1, or
--       2 where it came to nothing. The bytes of each: its events, then what has changed of it.
-- Answers for each that was not taken, behind its place: 'unknown'; 'stands', n: it is yours, but stands elsewhere;
--       'foreign'; 'ended'; 'sealed', n: somebody ended it behind n.
local out, told, at = {}, cmsgpack.unpack(ARGV[2]), 1
for i = 1, #KEYS / 2 do
  local meta, log = KEYS[2 * i - 1], KEYS[2 * i]
  local follows, last, data_size, state_size, life, ending = unpack(told, 6 * i - 5, 6 * i)
  local data = string.sub(ARGV[3], at, at + data_size - 1)
  at = at + data_size
  local state = string.sub(ARGV[3], at, at + state_size - 1)
  at = at + state_size
  local known = redis.call('HMGET', meta, 'rid', 'last', 'ended', 'sealed')
  if not known[1] then
    out[#out + 1] = { i, 'unknown' }
  elseif known[4] then
    out[#out + 1] = { i, 'sealed', known[4] }
  elseif known[3] then
    out[#out + 1] = { i, 'ended' }
  elseif known[1] ~= ARGV[1] then
    out[#out + 1] = { i, 'foreign' }
  elseif tonumber(known[2]) ~= follows then
    out[#out + 1] = { i, 'stands', known[2] or '' }
  else
    if last > follows then
      local entry = string.format('%.0f-%.0f', last, last - follows)
      if ending ~= 0 then
        redis.call('XADD', log, entry, 'd', data, 'e', state)
      else
        redis.call('XADD', log, entry, 'd', data)
      end
    end
    local stands = string.format('%.0f', last)
    if state ~= '' then
      redis.call('HSET', meta, 'last', stands, 'state', state)
    else
      redis.call('HSET', meta, 'last', stands)
    end
    if ending ~= 0 then
      redis.call('HSET', meta, 'ended', stands)
      if ending == 2 then
        redis.call('HSET', meta, 'nothing', '1')
      end
    end
    if life ~= 0 then
      redis.call('PEXPIRE', meta, life)
      redis.call('PEXPIRE', log, life)
    end
  end
end
return out
