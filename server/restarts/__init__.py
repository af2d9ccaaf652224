"""What of an answer outlives its process, on this machine alone.

restarts    the door: who is told of answers, and finds those of earlier processes
endings     that an answer was begun, and that it was cut off: always
disk        its text, where `streams.keep` says so; log_file is the file under it
shelf       what is read of these
settlements what those have cost that were cut off
"""
