"""The plugin as a process of Nomad's agent: handshake, gRPC server, and an end whichever way the agent goes.

Source: hashicorp/go-plugin server.go and client.go, v1.8.0.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

import grpc

from rock_nomad.device_plugin import messages as m
from rock_nomad.device_plugin.config import is_started_by_nomad
from rock_nomad.device_plugin.logs import set_up_logging
from rock_nomad.device_plugin.plugin import NAME, Plugin
from rock_nomad.device_plugin.protobuf import Message, decode, encode

__all__ = ["main", "run"]

log = logging.getLogger(__name__)

_HANDSHAKE = "1|2|unix|{path}|grpc|"  # go-plugin's core protocol, Nomad's plugin protocol, the address, no TLS
_LOOK_AT_PARENT = 1.0  # seconds; nobody tells a process that its parent was killed
_THREADS = 16  # each stream holds one for its life, and Nomad opens two
_PREFIX = f"{NAME}-"

_Request = TypeVar("_Request", bound=Message)
_Call = Callable[[_Request, grpc.ServicerContext], Any]


def main() -> None:
    """Serve the agent that has started this process; never returns."""
    run(Plugin())


def run(plugin: Plugin) -> None:
    """Serve a plugin until its agent says so, is gone, or sends SIGTERM; never returns."""
    if not is_started_by_nomad():
        sys.exit(f"{NAME} is started by Nomad's agent, from its plugin_dir: rock-nomad device-plugin install DIR")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the agent, which then tells us
    set_up_logging()
    with _socket_folder() as folder:
        signal.signal(signal.SIGTERM, lambda *_: _die(folder))
        _serve(plugin, folder / "socket")
    # Not by returning: a thread may hang in a driver, and after two seconds the agent kills.
    os._exit(0)


def _die(folder: Path) -> None:
    """End at once.

    An orderly end would end the Fingerprint stream in order, too, and Nomad would take that for the last word about
    this node's devices; of a crash it recovers.
    """
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(128 + signal.SIGTERM)


def _serve(plugin: Plugin, socket: Path) -> None:
    parent = os.getppid()
    server = grpc.server(ThreadPoolExecutor(_THREADS))
    server.add_generic_rpc_handlers(_services(plugin))
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    # The first thing on stdout, or the agent does not start; what comes later nobody reads.
    print(_HANDSHAKE.format(path=socket), flush=True)
    while not plugin.stopping.wait(_LOOK_AT_PARENT):
        if os.getppid() != parent:
            log.warning("the agent is gone")
            plugin.stop()
    server.stop(grace=0.2).wait(1.0)


def _services(plugin: Plugin) -> tuple[grpc.GenericRpcHandler[Any, Any], ...]:
    def shutdown(_request: m.Empty, _context: grpc.ServicerContext) -> m.Empty:
        plugin.stop()
        return m.Empty()

    base = {
        "PluginInfo": _unary(plugin.info, m.Empty),
        "ConfigSchema": _unary(plugin.schema, m.Empty),
        "SetConfig": _unary(plugin.configure, m.SetConfigRequest),
    }
    device = {
        "Fingerprint": _stream(plugin.fingerprint, m.Empty),
        "Reserve": _unary(plugin.reserve, m.ReserveRequest),
        "Stats": _stream(plugin.statistics, m.StatsRequest),
    }
    controller = {"Shutdown": _unary(shutdown, m.Empty)}
    return (
        grpc.method_handlers_generic_handler("hashicorp.nomad.plugins.base.proto.BasePlugin", base),
        grpc.method_handlers_generic_handler("hashicorp.nomad.plugins.device.DevicePlugin", device),
        grpc.method_handlers_generic_handler("plugin.GRPCController", controller),
    )


def _unary(call: _Call[_Request], request: type[_Request]) -> grpc.RpcMethodHandler[Any, Any]:
    return grpc.unary_unary_rpc_method_handler(call, decode(request), encode)


def _stream(call: _Call[_Request], request: type[_Request]) -> grpc.RpcMethodHandler[Any, Any]:
    return grpc.unary_stream_rpc_method_handler(call, decode(request), encode)


# ------------------------------------------------------------------------------------------------------ the socket


@contextlib.contextmanager
def _socket_folder() -> Iterator[Path]:
    """A folder that only this user can enter; those of plugins that were killed are removed on the way.

    A folder's owner holds a lock on a file in it, so that a dead one is known whatever became of its process id.
    """
    parent = Path(tempfile.gettempdir())
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    with (folder / "lock.new").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "lock.new").rename(folder / "lock")  # locked before it can be found
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else was faster
            if folder.lstat().st_uid == os.geteuid():
                with (folder / "lock").open("rb") as lock:
                    if _is_free(lock):
                        shutil.rmtree(folder, ignore_errors=True)


def _is_free(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
