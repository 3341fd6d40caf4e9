"""Errors, at ROCK's path."""

from rock.errors import (
    BadRequestRockError,
    CommandRockError,
    InternalServerRockError,
    InvalidParameterRockException,
    RockException,
    raise_for_code,
)

__all__ = [
    "BadRequestRockError",
    "CommandRockError",
    "InternalServerRockError",
    "InvalidParameterRockException",
    "RockException",
    "raise_for_code",
]
