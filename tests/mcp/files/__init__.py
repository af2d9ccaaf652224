"""Files of the machine: which may be touched, what is read, what is written."""
