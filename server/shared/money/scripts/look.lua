-- What a caller has spent and holds on a day, counted anew.
--
-- Answers: ok (spent, held); unknown.

if is_unknown() then return {'unknown', now} end
count_anew(a.day)
local sought = held('sought:' .. a.day)
return {'ok', now, digits(spent_by_all() - sought), digits(held('held:' .. a.day) + sought)}
