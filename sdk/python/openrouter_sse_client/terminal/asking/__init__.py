"""What a person asks: the command line, lines that are typed, files."""
