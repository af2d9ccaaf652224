"""Every byte that answers a request, good or bad, is what HTTP asks for."""
