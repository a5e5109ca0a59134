"""Tools of MCP servers: declared by the operator, run in the sandbox or reached by HTTP, pinned."""
