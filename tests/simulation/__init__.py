"""The engine on a virtual clock, among seeded faults: a failure prints the seed that replays it."""
