"""The rocklet: the agent inside a sandbox.  `python -m rocklet` starts it."""
