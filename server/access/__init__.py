"""Who may call: callers and their tokens, proxies, wrong attempts. Rules alone, which the settings need too: they are
applied by `server.http.access`. Uses no other room of `server`."""
