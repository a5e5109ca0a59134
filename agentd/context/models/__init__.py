"""Models: one adapter of the port `agentd.runtime.ports.Model` for each provider."""
