"""Programs in C and Ruby that use libagentd, built from this tree."""
