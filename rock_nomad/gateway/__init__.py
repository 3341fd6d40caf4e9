"""The gateway: authenticates, resolves, streams bytes, and decodes only what it serves itself.  Stateless replicas."""
