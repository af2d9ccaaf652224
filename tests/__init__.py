"""Tests of all three packages; streaming ones run against real servers on the loopback."""
