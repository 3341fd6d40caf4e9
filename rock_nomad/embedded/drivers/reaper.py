"""The reaper: removes an agent's containers when that has died without doing so.

Run as `python -I -S reaper.py SOCKET LABEL` with a pipe as stdin: it sleeps until the pipe says "." and ends, because
its agent has tidied up; or until the pipe just ends, because the agent is gone (killed -9, say).  Then every container
with the label goes.  Stand-alone by design: it imports the standard library only.
"""

import http.client
import json
import os
import signal
import socket
import sys
import time
import urllib.parse

_PAUSE = 1.0  # seconds between looks; the engine goes on with what it was asked for last
_LOOKS = 3  # in a row that find nothing
_TIMEOUT = 60.0  # seconds for one call


class Engine(http.client.HTTPConnection):
    """One call of the Docker engine."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the engine's socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(self._path)


def reap(path: str, label: str) -> None:
    """Remove every container with the label, those too that are still being made."""
    empty = 0
    while empty < _LOOKS:
        found = _call(path, "GET", f"/containers/json?all=1&filters={_filter(label)}")
        containers = json.loads(found or b"[]")
        for container in containers:
            _call(path, "DELETE", f"/containers/{container['Id']}?force=1&v=1")
        empty = 0 if containers else empty + 1
        time.sleep(_PAUSE)


def _filter(label: str) -> str:
    return urllib.parse.quote(json.dumps({"label": [label]}))


def _call(path: str, method: str, url: str) -> bytes:
    engine = Engine(path)
    try:
        engine.request(method, url)
        return engine.getresponse().read()
    except (OSError, http.client.HTTPException):
        return b""  # no engine, no containers
    finally:
        engine.close()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not os.read(sys.stdin.fileno(), 1):
        reap(*sys.argv[1:])
