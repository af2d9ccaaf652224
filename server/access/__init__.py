"""Who may call: tokens, origins, hosts, proxies, wrong attempts."""
