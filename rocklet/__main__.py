"""`python -m rocklet`: read the settings, listen, and exit with the code that says why it ended."""

from __future__ import annotations

import asyncio
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
from rocklet.malloc import FreedMemory

__all__ = ["main"]

_THREADS = 8


def main() -> int:
    """Run a rocklet to its end; the exit code is wire (`RockletExit`)."""
    gc.disable()  # nothing that is imported is garbage: looking costs a twentieth of the start
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = read_settings(sys.argv[1:])
        listener = open_listener(settings)
        freed = FreedMemory()
        with asyncio.Runner(loop_factory=_find_loop()) as runner:
            return runner.run(_serve(settings, listener, freed))
    except BadSetting as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"cannot listen: {error}; set ROCKLET_PORT or --host to a free address")


async def _serve(settings: Settings, listener: socket.socket, freed: FreedMemory) -> int:
    os.putenv("SSL_CERT_FILE", os.devnull)  # aiohttp reads what it names at its import, for 40 ms; we speak no TLS
    from rocklet.server import listen  # aiohttp takes 0.1 s to import; neither a bad setting nor a caller is to wait

    loop = asyncio.get_running_loop()
    loop.set_default_executor(_start_threads())
    async with listen(settings, listener, adopt_orphans=True) as listening, asyncio.TaskGroup() as tasks:
        gc.freeze()  # what was imported lives as long as we do, and need not be looked at later, either
        gc.enable()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, listening.engine.end, RockletExit.SIGNALED)
        giving_back = tasks.create_task(freed.give_back(), name="freed memory")
        code = await listening.wait_ended()
        giving_back.cancel()
        return code


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
