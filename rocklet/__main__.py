"""`python -m rocklet`: read the settings, listen, and exit with the code that says why it ended."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rock.wire.messages import RockletExit
from rocklet.config import BadSetting, Settings, read_settings
from rocklet.listener import open_listener

__all__ = ["main"]

_KEPT_MEMORY = 16 * 2**20  # bytes: a session's 5 MB of output, as bytes, as text and as JSON
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_THREADS = 8


def main() -> int:
    """Run a rocklet to its end; the exit code is wire (`RockletExit`)."""
    gc.disable()  # nothing that is imported is garbage: looking costs a twentieth of the start
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = read_settings(sys.argv[1:])
        listener = open_listener(settings)
        _keep_freed_memory()
        with asyncio.Runner(loop_factory=_find_loop()) as runner:
            return runner.run(_serve(settings, listener))
    except BadSetting as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"cannot listen: {error}; set ROCKLET_PORT or --host to a free address")


async def _serve(settings: Settings, listener: socket.socket) -> int:
    os.putenv("SSL_CERT_FILE", os.devnull)  # aiohttp reads what it names at its import, for 40 ms; we speak no TLS
    from rocklet.server import listen  # aiohttp takes 0.1 s to import; neither a bad setting nor a caller is to wait

    loop = asyncio.get_running_loop()
    loop.set_default_executor(_start_threads())
    async with listen(settings, listener, adopt_orphans=True) as listening:
        gc.freeze()  # what was imported lives as long as we do, and need not be looked at later, either
        gc.enable()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, listening.engine.end, RockletExit.SIGNALED)
        return await listening.wait_ended()


def _keep_freed_memory() -> None:
    """Let malloc keep what it has of the kernel, up to a bound.

    Of itself it gives each megabyte back once it is free, and the pages of the next one cost 1.3 ms: ten times what it
    takes to copy something there.
    """
    import ctypes  # 5 ms, which a bad setting need not wait for

    with contextlib.suppress(AttributeError):  # musl has no such options
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEPT_MEMORY)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_MEMORY)


def _start_threads() -> ThreadPoolExecutor:
    """The threads for what blocks, all of them: where commands have taken every process, none can be started later."""
    threads = ThreadPoolExecutor(_THREADS, "rocklet")
    together = threading.Barrier(_THREADS)
    for _ in range(_THREADS):
        threads.submit(together.wait)  # so that each needs one of its own
    return threads


def _find_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _fail(message: str) -> int:
    print(f"rocklet: {message}", file=sys.stderr)
    return RockletExit.EARLY


if __name__ == "__main__":
    sys.exit(main())
