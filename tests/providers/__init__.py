"""A fake provider over real HTTP."""
