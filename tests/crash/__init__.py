"""Crashes, of the process and of the machine below it."""
