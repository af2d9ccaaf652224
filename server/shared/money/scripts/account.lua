-- One caller's account, for the scripts behind this text: what each of them is given, and what all of them do.
--
-- KEYS: acct, starts, open, settled, and of one day spent and usage.
-- ARGV[1]: JSON; `sent` the engine's time when the call was sent, in ms, `epoch`, `rid` who calls and `me` its own
-- book, `id` the answer and `book` the one that the answer counts in. Amounts are nano-USD in decimal digits, since a
-- double's text may lose some.
--
-- Every script answers a list whose first is a word and whose second is the engine's time, in ms.

local acct, starts, open, settled, spent, usage = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local a = cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local DAY_MS = 86400000

local function digits(number) return string.format('%.0f', number) end

-- A call that was not carried out when it was sent, but waited in the socket of an engine that stood still: its sender
-- has given it up.
local function is_late() return math.abs(now - a.sent) > 1000 end

-- An engine that lost its data knows nothing of the books that counted here.
local function is_unknown() return redis.call('HGET', acct, 'b:' .. a.me) ~= a.epoch end

local function record_of(id)
  local text = redis.call('HGET', open, id)
  return text and cjson.decode(text) or nil
end

local function add(field, number)
  if number ~= 0 then redis.call('HINCRBY', acct, field, digits(number)) end
end

-- What a record holds, added (`sign` 1) or taken away (-1).
local function hold(record, sign)
  if record.r == 1 then add('running', sign) end
  local nano = tonumber(record.n)
  if nano > 0 then
    add((record.k == 1 and 'sought:' or 'held:') .. record.d, sign * nano)
    add('number:' .. record.d, sign)
  end
end

local function put(id, record)
  redis.call('HSET', open, id, cjson.encode(record))
  hold(record, 1)
end

local function take_out(id, record)
  redis.call('HDEL', open, id)
  hold(record, -1)
end

-- Counters drift, whatever the reason: the records themselves say what is held.
local function count_anew(day)
  local fields = redis.call('HGETALL', acct)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) ~= 'b:' then redis.call('HDEL', acct, fields[i]) end
  end
  for _, text in ipairs(redis.call('HVALS', open)) do hold(cjson.decode(text), 1) end
  redis.call('HSET', acct, 'day', day)
end

local function held(field) return tonumber(redis.call('HGET', acct, field) or '0') end

local function spent_by_all()
  local sum = 0
  for _, nano in ipairs(redis.call('HVALS', spent)) do sum = sum + tonumber(nano) end
  return sum
end

local function count(book, model, figures)
  local row = book .. ' ' .. model .. ' '
  for name, number in pairs(figures) do
    if number ~= 0 then redis.call('HINCRBY', usage, row .. name, digits(number)) end
  end
  if (figures.cost_nano or 0) ~= 0 then redis.call('HINCRBY', spent, book, digits(figures.cost_nano)) end
end

local function keep_alive()
  redis.call('PEXPIRE', acct, 3 * DAY_MS)
  redis.call('PEXPIRE', starts, 61000)
  redis.call('PEXPIRE', settled, 30 * DAY_MS)
  redis.call('PEXPIRE', spent, 3 * DAY_MS)
  redis.call('PEXPIRE', usage, 400 * DAY_MS)
end
