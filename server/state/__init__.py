"""Files that outlive the process: SQLite's, each written by one process at a time (`sqlite_file`, `lock`)."""
