-- Makes an answer known there, or makes it anew where the engine has lost it.
-- KEYS: meta, log.
-- ARGV: the process, the answer's head, its state, number behind which its log begins, life in ms.
-- Answers {'begun'}; {'stands', n}: it was there, and is yours; {'foreign'}; {'ended'}; {'sealed', n}.
local known = redis.call('HMGET', KEYS[1], 'rid', 'last', 'ended', 'sealed', 'placed')
if known[4] then
  return { 'sealed', known[4] }
end
if known[3] then
  return { 'ended' }
end
if known[1] and known[1] ~= ARGV[1] then
  return { 'foreign' }
end
if known[1] and not known[5] then
  return { 'stands', known[2] }
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'rid', ARGV[1], 'last', ARGV[4], 'head', ARGV[2], 'state', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return { 'begun' }
