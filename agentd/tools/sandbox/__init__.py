"""Run programs so that they reach only what was granted."""
