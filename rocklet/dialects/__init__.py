"""The engine's operations, each dialect on its clients' own wire."""
