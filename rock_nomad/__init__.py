"""rock-nomad: the control plane that turns sandbox requests into Nomad jobs."""
