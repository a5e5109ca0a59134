"""What agentd is measured against: other runtimes, and the machine itself."""
