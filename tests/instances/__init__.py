"""Several processes that serve as one: on one socket, behind a balancer, one restarted after the other."""
