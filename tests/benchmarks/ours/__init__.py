"""Our side of the rows: agentd's runtime in a process of its own, and its daemon behind gRPC."""
