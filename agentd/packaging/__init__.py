"""What an operator installs beside the program: units for systemd, and a sample configuration."""
