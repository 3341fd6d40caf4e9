"""Values that coroutines share, and threads for what blocks."""

from __future__ import annotations

import asyncio
from collections.abc import KeysView
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import cache
from typing import Any, Generic, TypeVar

__all__ = [
    "COMMAND_LOG",
    "EAGLE_EYE_TRACE_ID",
    "ENV_POOL",
    "MAX_WORKERS",
    "REQUEST_TIMEOUT_SECONDS",
    "SANDBOX_ID",
    "TRACE_ID",
    "AsyncAtomicInt",
    "AsyncSafeDict",
    "K",
    "V",
    "get_executor",
    "sandbox_id_ctx_var",
    "trace_id_ctx_var",
]

K = TypeVar("K")
V = TypeVar("V")

MAX_WORKERS = 300
SANDBOX_ID, TRACE_ID = "sandbox_id", "trace_id"
EAGLE_EYE_TRACE_ID = "eagleeye-traceid"
COMMAND_LOG = "command.log"
REQUEST_TIMEOUT_SECONDS = 85
ENV_POOL: dict[str, Any] = {}

sandbox_id_ctx_var = ContextVar(SANDBOX_ID, default="")
trace_id_ctx_var = ContextVar(TRACE_ID, default="")


@cache
def get_executor() -> ThreadPoolExecutor:
    """The process's threads for what blocks."""
    return ThreadPoolExecutor(max_workers=MAX_WORKERS, thread_name_prefix="rock")


class AsyncSafeDict(Generic[K, V]):
    """A dictionary whose changes wait for each other."""

    def __init__(self) -> None:
        self._items: dict[K, V] = {}
        self._lock = asyncio.Lock()

    async def get(self, key: K, default: V | None = None) -> V | None:
        """The value, or the default."""
        async with self._lock:
            return self._items.get(key, default)

    async def set(self, key: K, value: V) -> None:
        """Set a value."""
        async with self._lock:
            self._items[key] = value

    async def pop(self, key: K, default: V | None = None) -> V | None:
        """Take a value out."""
        async with self._lock:
            return self._items.pop(key, default)

    async def keys(self) -> KeysView[K]:
        """The keys there are."""
        async with self._lock:
            return self._items.keys()

    def __len__(self) -> int:
        return len(self._items)


class AsyncAtomicInt:
    """A number that coroutines count with."""

    def __init__(self, value: int = 0) -> None:
        self._value = value
        self._lock = asyncio.Lock()

    async def inc(self) -> int:
        """One more."""
        async with self._lock:
            self._value += 1
            return self._value

    async def get(self) -> int:
        """The number now."""
        async with self._lock:
            return self._value
