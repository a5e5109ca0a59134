"""One scenario, which the client of every language executes against a real daemon."""
