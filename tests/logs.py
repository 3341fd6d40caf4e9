"""What this process says in its logs, awaited."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

__all__ = ["hearing"]


@contextlib.contextmanager
def hearing(logger: str, text: str) -> Iterator[asyncio.Event]:
    """An event that is set when a logger says a text."""
    heard = asyncio.Event()

    class _Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                heard.set()

    ear, said = _Ear(), logging.getLogger(logger)
    before = said.level
    said.addHandler(ear)
    said.setLevel(logging.INFO)
    try:
        yield heard
    finally:
        said.removeHandler(ear)
        said.setLevel(before)
