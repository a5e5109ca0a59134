"""The tests of agentd."""
