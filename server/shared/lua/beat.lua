-- A process lives on for a lease.
-- KEYS: live, dead, epoch.  ARGV: the process, lease in ms, '1' for the first time, an epoch if there is none.
-- Answers {1: lives; 0: was given up, come back under another name, engine's clock in ms, epoch, how many live}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch = redis.call('GET', KEYS[3])
if not epoch then
  epoch = ARGV[4]
  redis.call('SET', KEYS[3], epoch)
end
local lives = 1
if redis.call('ZSCORE', KEYS[2], ARGV[1]) or (ARGV[3] ~= '1' and not redis.call('ZSCORE', KEYS[1], ARGV[1])) then
  lives = 0
else
  redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
end
return { lives, now, epoch, redis.call('ZCARD', KEYS[1]) }
