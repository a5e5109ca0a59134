"""Journals of every release, which each later release must still fold to the same states."""
