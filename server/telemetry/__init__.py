"""What the process tells of itself: log lines, figures for Prometheus, traces, alarms.

Knows requests and answers by `errors` and `keys`; knows no handler, and none of the rooms that it tells of.
"""
