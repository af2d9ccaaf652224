"""The HTTP service: settings, routes, process."""
