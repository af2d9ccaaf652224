"""Answers that outlive a connection: one writer, a log, readers, and what they have cost. Knows nothing of HTTP.

readable              one that can be read, whoever runs it, with the protocols of those around it
streams, stream       all of them; one that this process runs
room, names           what they take of memory; what callers call them
chosen_ids            ids that callers choose: one answer under each
elsewhere, mirror     those who know of answers that others run; one of these, as it is read here
finding, seal         where an answer is, whoever runs it; the end that others told of one whose owner died
pump                  reads one answer from upstream to its end
log, wire, last_words its events as bytes, and the end where something failed
raw_log               upstream's chunks in their place, for other protocols, and the events made of them
log_events            the events of any log again, for readers of every protocol
answer, gathering     a whole answer made of a log
settlement, settler   what it cost, and the look-up of that
figures, histogram    sums over all answers
steps                 what is done at an end, whatever fails

Uses `upstream`, `translation` and all below them; none of those knows a stream.
"""
