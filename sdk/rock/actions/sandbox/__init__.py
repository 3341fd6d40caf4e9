"""ROCK's requests and responses, at ROCK's path."""
