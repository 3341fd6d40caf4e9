"""ROCK's own module paths, as re-exports."""
