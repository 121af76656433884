"""Where messages come and go, one file each."""
