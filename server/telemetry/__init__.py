"""What the process tells of itself: log lines, figures for Prometheus, traces, alarms."""
