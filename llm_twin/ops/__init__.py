"""Where a twin runs when it leaves this machine."""
