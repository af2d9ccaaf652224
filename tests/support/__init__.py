"""What tests share; nothing here is a test, but for those of the support itself."""
