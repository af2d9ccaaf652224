"""Logs, figures and traces tell the truth, and never what was asked or answered."""
