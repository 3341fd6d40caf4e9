"""What calls cost: a load generator, and calls on a sandbox that it can make.

`rock-nomad bench` measures a cluster with it; the project's own benchmark holds the same calls against floors.
"""
