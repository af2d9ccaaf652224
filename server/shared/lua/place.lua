-- Takes the place of an id that a caller has chosen, unless an answer has it that did not come to nothing.
-- KEYS: meta, log.  ARGV: the process, life in ms.  Answers 1: taken; 0: somebody has it.
local known = redis.call('HMGET', KEYS[1], 'rid', 'ended', 'nothing')
if known[1] and not (known[2] and known[3] == '1') then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'rid', ARGV[1], 'last', '0', 'placed', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
