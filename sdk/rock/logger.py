"""ROCK's loggers, at ROCK's path.  They write nowhere until the program says where, as libraries' loggers should."""

from __future__ import annotations

import logging

from rock._absent import absent_names

__all__ = ["init_logger"]


def init_logger(name: str | None = None, file_name: str | None = None) -> logging.Logger:
    """A logger of that name.  `file_name` has no effect: handlers are the program's to add."""
    return logging.getLogger(name or "rock")


__getattr__ = absent_names(__name__)
