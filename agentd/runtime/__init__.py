"""The engine: carries out what the machines decide, durably."""
