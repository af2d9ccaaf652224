-- Ends an answer whose owner is gone: nothing can follow on the highest id that there is.
-- KEYS: meta, log.
-- ARGV: the owner, or '' for whoever it is; life in ms; number that is known to have been there; '1': also where the
--       engine has lost it, so that all who read it get the same end.
-- Answers {'sealed', n}, now or before; {'ended'}: by its owner; {'foreign'}: it has another owner by now; {'unknown'}.
local known = redis.call('HMGET', KEYS[1], 'rid', 'last', 'ended', 'sealed')
if known[4] then
  return { 'sealed', known[4] }
end
if known[3] then
  return { 'ended' }
end
if not known[1] then
  if ARGV[4] ~= '1' then
    return { 'unknown' }
  end
  known[1], known[2] = '', '0'
  redis.call('HSET', KEYS[1], 'rid', '', 'last', '0')
end
if ARGV[1] ~= '' and known[1] ~= ARGV[1] then
  return { 'foreign' }
end
local last = known[2]
if not tonumber(last) or tonumber(ARGV[3]) > tonumber(last) then
  last = ARGV[3]
end
redis.call('XADD', KEYS[2], '18446744073709551615-0', 's', last)
redis.call('HSET', KEYS[1], 'sealed', last, 'ended', last)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return { 'sealed', last }
