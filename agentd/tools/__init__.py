"""What agents can do: tools, their schemas and their hosts."""
