"""Ways in: each adapts the same services, from their descriptors, without per-method code."""
