"""The installed daemon, as a process."""
