-- Says what has changed of an answer that is known there.  KEYS: meta.  ARGV: its state, '1' where it came to nothing.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'state', ARGV[1])
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[1], 'nothing', '1')
end
return 1
