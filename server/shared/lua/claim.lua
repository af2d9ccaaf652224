-- Takes on one process whose lease has run out, for as long as a lease.
-- KEYS: live, dead.  ARGV: lease in ms, when this was sent by the engine's clock in ms, how old it may be in ms.
-- Answers the process; '' for none; false for a call that waited too long: what it goes by is not so any more.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if math.abs(now - ARGV[2]) > tonumber(ARGV[3]) then
  return false
end
local expired = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)
for _, rid in ipairs(expired) do
  redis.call('ZREM', KEYS[1], rid)
  redis.call('ZADD', KEYS[2], 0, rid)
end
local waiting = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1)
if not waiting[1] then
  return ''
end
redis.call('ZADD', KEYS[2], now + ARGV[1], waiting[1])
return waiting[1]
