-- An answer that has no end is mine from now on: I am its owner under another name.
-- KEYS: meta.  ARGV: the process.  Answers {'stands', n}; {'unknown'}; {'ended'}; {'sealed', n}.
local known = redis.call('HMGET', KEYS[1], 'rid', 'last', 'ended', 'sealed', 'head')
if known[4] then
  return { 'sealed', known[4] }
end
if known[3] then
  return { 'ended' }
end
if not known[1] or not known[5] then
  return { 'unknown' }
end
redis.call('HSET', KEYS[1], 'rid', ARGV[1])
return { 'stands', known[2] }
