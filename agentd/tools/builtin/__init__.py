"""The tools of the daemon itself: files, commands and pages."""
