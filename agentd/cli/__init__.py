"""The command line. Reaches the daemon through agentd.client alone."""
