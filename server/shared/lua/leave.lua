-- Gives back the place of a chosen id of which nothing came.  KEYS: meta.  ARGV: the process.
local known = redis.call('HMGET', KEYS[1], 'rid', 'placed')
if known[1] == ARGV[1] and known[2] then
  redis.call('DEL', KEYS[1])
end
return 1
