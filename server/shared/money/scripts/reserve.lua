-- Takes a place in a caller's limits; what is refused takes nothing, and the same id again is the same place.
--
-- `day`, `nano` what it may cost, `model`; limits, each of them null when there is none: `per_minute`, `at_once`,
-- `budget`.
-- Answers: reserved (nano); settled; late; unknown; minute (ms to wait); at_once (running); budget (spent, held).

if is_late() then return {'late', now} end
if redis.call('HEXISTS', settled, a.id) == 1 then return {'settled', now} end
if is_unknown() then return {'unknown', now} end
local found = record_of(a.id)
if found then return {'reserved', now, found.n} end
if redis.call('HGET', acct, 'day') ~= a.day then count_anew(a.day) end

local function limit(name)
  local value = a[name]
  return value ~= cjson.null and tonumber(value) or nil
end

local per_minute, at_once, budget = limit('per_minute'), limit('at_once'), limit('budget')
local nano = tonumber(a.nano)

if per_minute then
  redis.call('ZREMRANGEBYSCORE', starts, '-inf', now - 60000)
  if redis.call('ZCARD', starts) >= per_minute then
    local first = redis.call('ZRANGE', starts, -per_minute, -per_minute, 'WITHSCORES')
    return {'minute', now, digits((first[2] or now) + 60000 - now)}
  end
end

-- The rules of `server.budgets.rules`.
local function refusal()
  local running = held('running')
  if at_once and running >= at_once then return {'at_once', now, running} end
  if budget then
    local counted, sought, runs = spent_by_all(), held('sought:' .. a.day), held('held:' .. a.day)
    local left = budget - counted - runs
    if tonumber(a.nano) > math.max(left, 0) then
      if held('number:' .. a.day) > 0 or left <= 0 then
        return {'budget', now, digits(counted - sought), digits(runs + sought)}
      end
      nano = left
    end
  end
  return nil
end

local refused = refusal()
if refused then
  count_anew(a.day)
  refused = refusal()
  if refused then return refused end
end
if per_minute then redis.call('ZADD', starts, now, a.id) end
put(a.id, {d = a.day, n = digits(nano), k = 0, o = 0, r = 1, b = a.book, w = a.rid, g = '', m = a.model})
keep_alive()
return {'reserved', now, digits(nano)}
