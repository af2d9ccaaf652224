-- Adds to the copies of many answers what follows on what stands there; what does not follow changes nothing.
-- KEYS: for each answer its meta and its log.
-- ARGV: the process, then for each answer seven: the number it follows, the number of the last event, how many, their
--       bytes, the life of the keys in ms or '', what has changed of the answer or '', how it has ended: '' for not, '1', or '2' where
--       it came to nothing.
-- Answers for each: 'taken'; 'unknown'; {'stands', n}: it is yours, but stands elsewhere; {'foreign'};
--                   {'ended'}; {'sealed', n}: somebody ended it behind n.
local out = {}
for i = 1, #KEYS / 2 do
  local meta, log, a = KEYS[2 * i - 1], KEYS[2 * i], 7 * i - 5
  local known = redis.call('HMGET', meta, 'rid', 'last', 'ended', 'sealed')
  if not known[1] then
    out[i] = { 'unknown' }
  elseif known[4] then
    out[i] = { 'sealed', known[4] }
  elseif known[3] then
    out[i] = { 'ended' }
  elseif known[1] ~= ARGV[1] then
    out[i] = { 'foreign' }
  elseif known[2] ~= ARGV[a] then
    out[i] = { 'stands', known[2] }
  else
    local last, state, is_end = ARGV[a + 1], ARGV[a + 5], ARGV[a + 6] ~= ''
    if ARGV[a + 2] ~= '0' then
      if is_end then
        redis.call('XADD', log, last .. '-' .. ARGV[a + 2], 'd', ARGV[a + 3], 'e', state)
      else
        redis.call('XADD', log, last .. '-' .. ARGV[a + 2], 'd', ARGV[a + 3])
      end
    end
    if state ~= '' then
      redis.call('HSET', meta, 'last', last, 'state', state)
    else
      redis.call('HSET', meta, 'last', last)
    end
    if is_end then
      redis.call('HSET', meta, 'ended', last)
      if ARGV[a + 6] == '2' then
        redis.call('HSET', meta, 'nothing', '1')
      end
    end
    if ARGV[a + 4] ~= '' then
      redis.call('PEXPIRE', meta, ARGV[a + 4])
      redis.call('PEXPIRE', log, ARGV[a + 4])
    end
    out[i] = 'taken'
  end
end
return out
