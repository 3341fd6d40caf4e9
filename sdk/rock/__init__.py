"""rock: sandboxes and environments for agentic reinforcement learning."""
