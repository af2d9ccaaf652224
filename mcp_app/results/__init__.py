"""What a tool gives back: text, structured parts, pictures, failures, reports of progress."""
