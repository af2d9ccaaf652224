"""The process starts, reloads and ends as it says, under systemd and without."""
