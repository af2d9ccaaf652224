"""Answers survive cuts, crowds, faults and slow readers: nothing lost, nothing twice, one end."""
