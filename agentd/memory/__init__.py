"""What agents remember beyond a run."""
