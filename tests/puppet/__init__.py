"""A model that obeys whatever it reads, and what the world outside sees of it."""
