-- Upstream has accepted an answer: from now on it is billed. The record is made where nobody had to wait for one.
--
-- `day`, `nano` what it holds, `model`, `generation`; `opened` 0 or 1.
-- Answers: ok; settled; late; unknown.

if is_late() then return {'late', now} end
if redis.call('HEXISTS', settled, a.id) == 1 then return {'settled', now} end
if is_unknown() then return {'unknown', now} end
local record = record_of(a.id)
if record then
  record.o, record.g, record.m = a.opened, a.generation, a.model
  redis.call('HSET', open, a.id, cjson.encode(record))
else
  put(a.id, {
    d = a.day, n = a.nano, k = 0, o = a.opened, r = 1, b = a.book, w = a.rid, g = a.generation, m = a.model,
  })
end
keep_alive()
return {'ok', now}
