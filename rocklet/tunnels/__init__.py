"""Tunnels: bytes of the sandbox's own servers and terminals, which the rocklet passes on and does not read."""
