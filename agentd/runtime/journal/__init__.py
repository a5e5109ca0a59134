"""Journals: adapters of the port `agentd.runtime.ports.Journal`."""
