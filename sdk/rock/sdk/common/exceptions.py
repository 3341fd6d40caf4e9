"""Errors, at ROCK's path."""

from rock._absent import absent_names
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

__getattr__ = absent_names(__name__)
