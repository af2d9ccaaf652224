-- What the engine may have lost is put back, by whoever knows it; nothing of it counts twice.
--
-- `day` and the `rows` of the own book on it: `m` the model, and each figure. A row that is behind is set to them: all
-- that a book holds was counted in one order, so of two states the one with more requests, or more of them settled, is
-- the later. `is_recent` 1 where budgets may still ask about that day.
-- With `done` 1, after the rows of all days: `open` id -> record as it should be, `unsure` ids of which nothing is known
-- yet; and the book is known from now on.
-- Answers: ok; late.

if is_late() then return {'late', now} end
local FIGURES = {'requests', 'prompt_tokens', 'completion_tokens', 'cost_nano', 'settled_nano', 'unsettled'}
local book = a.me

local function figure(row, name) return tonumber(redis.call('HGET', usage, row .. name) or '0') end

local function is_behind(row, mine)
  local requests, theirs = tonumber(mine.requests), figure(row, 'requests')
  if requests ~= theirs then return theirs < requests end
  return figure(row, 'unsettled') > tonumber(mine.unsettled)
end

local has_changed = false
for _, mine in ipairs(a.rows) do
  local row = book .. ' ' .. mine.m .. ' '
  if is_behind(row, mine) then
    has_changed = true
    for _, name in ipairs(FIGURES) do redis.call('HSET', usage, row .. name, mine[name]) end
  end
end
if a.is_recent == 1 and (has_changed or redis.call('HEXISTS', spent, book) == 0) then
  local sum, fields = 0, redis.call('HGETALL', usage)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, #book + 1) == book .. ' ' and string.sub(fields[i], -10) == ' cost_nano' then
      sum = sum + tonumber(fields[i + 1])
    end
  end
  redis.call('HSET', spent, book, digits(sum))
end

if a.done == 1 then
  local keep = {}
  for _, id in ipairs(a.unsure) do keep[id] = true end
  for id, record in pairs(a.open) do
    keep[id] = true
    if redis.call('HEXISTS', settled, id) == 0 then
      local found = record_of(id)
      if found and found.k == 1 and record.k == 0 then record.k, record.n, record.r = 1, found.n, 0 end
      redis.call('HSET', open, id, cjson.encode(record))
    end
  end
  local records = redis.call('HGETALL', open)
  for i = 1, #records, 2 do
    if not keep[records[i]] and cjson.decode(records[i + 1]).w == a.rid then
      redis.call('HDEL', open, records[i])
    end
  end
  redis.call('HSET', acct, 'b:' .. book, a.epoch)
  count_anew(a.day)
end
keep_alive()
return {'ok', now}
