"""Real Nomad and Consul on this machine's loopback, started from its executables and thrown away afterwards.

`python -m rock_nomad.loopback` is one process that owns every agent; it ends with its stdin, and leaves nothing.  What
a killed one left behind is swept by the next.
"""
