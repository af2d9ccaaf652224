"""What callers may spend and have spent: admission, leases, the ledger and its file. Uses `access` and `errors`."""
