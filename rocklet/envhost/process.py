"""The environment host, as its parent sees it: one question at a time, and an answer or its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any, Literal

from rocklet.actions import Call
from rocklet.descriptors import Inlet, Outlet
from rocklet.memory import KILLED
from rocklet.processes import Children
from rocklet.surroundings import Surroundings

__all__ = ["HostEnded", "HostProcess"]

_PROGRAM = Path(__file__).with_name("host.py")
_KEPT_STDERR = 4096  # bytes, from its end


class HostEnded(Exception):
    """The host ended before it answered, or was killed because its time was up or nobody wanted the answer."""

    def __init__(self, why: Literal["exited", "oom", "timed_out", "canceled"], exit_code: int, stderr: str) -> None:
        super().__init__(why, exit_code, stderr)
        self.why, self.exit_code, self.stderr = why, exit_code, stderr


class HostProcess:
    """A host that runs."""

    def __init__(self, python: str, children: Children, surroundings: Surroundings) -> None:
        """Start it with a Python that has gem-llm.

        Raises CommandFailed: the machine refuses.
        """
        self._loop = asyncio.get_running_loop()
        self._ooms = children.ooms
        self._line, self._stderr = bytearray(), b""
        self._answer: asyncio.Future[bytes] = self._loop.create_future()
        stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
        theirs, ours = (stdin[0], stdout[1], stderr[1]), (stdin[1], stdout[0], stderr[0])
        try:
            # -I: neither the sandbox's PYTHONPATH nor the directory of our own modules is to shadow theirs.
            self._child = children.spawn([python, "-I", str(_PROGRAM)], surroundings, streams=theirs)
        except BaseException:
            for fd in ours:
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        self._requests = Outlet(ours[0])
        self._inlets = (Inlet(ours[1], self._on_stdout), Inlet(ours[2], self._on_stderr))

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self._child.exited.done()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    async def ask(self, request: dict[str, Any], call: Call, limit: float | None) -> dict[str, Any]:
        """Its answer, within `limit` seconds.  One question at a time.

        A host that is not waited for any longer is killed, because half a step is none.

        Raises HostEnded.
        """
        answer = self._answer = self._loop.create_future()
        self._requests.send(json.dumps(request).encode() + b"\n")
        waited = (answer, self._child.exited, call.canceled)
        ooms = self._ooms.count()
        try:
            done, _ = await asyncio.wait(waited, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if answer not in done and self._child.exited in done:
                self._inlets[0].drain()  # it may have answered with its last breath
            if answer.done():
                answered: dict[str, Any] = json.loads(answer.result())
                return answered
            await self.end()
        except BaseException:
            self._child.signal_group(signal.SIGKILL)
            raise
        self._inlets[1].drain()
        exit_code = self._child.exited.result()
        why: Literal["exited", "oom", "timed_out", "canceled"] = "canceled" if done else "timed_out"
        if self._child.exited in done:
            why = "oom" if exit_code == KILLED and self._ooms.count() > ooms else "exited"
        raise HostEnded(why, exit_code, self._stderr.decode("utf-8", "replace"))

    async def end(self) -> None:
        """Kill it, and all that its environments have started in its process group."""
        self._child.signal_group(signal.SIGKILL)
        await self._child.exited
        self._requests.close()

    def _on_stdout(self, data: bytes) -> None:
        self._line += data
        if data.endswith(b"\n") and not self._answer.done():
            self._answer.set_result(bytes(self._line))
            self._line.clear()

    def _on_stderr(self, data: bytes) -> None:
        self._stderr = (self._stderr + data)[-_KEPT_STDERR:]
