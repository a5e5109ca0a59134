"""The protocol `lifecycle`: plan, simulate, execute, judge, remember and reflect. Pure."""
