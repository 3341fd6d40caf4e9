"""The table of tunnels: what passes to and from a sandbox as bytes of its users' own, not as messages of ours.

Like operations they are iterated by gateway and rocklet, and reached at their own path at the rocklet and at
`/v1/sandboxes/{sandbox_id}` + the rest of it through any gateway.  A tunnel holds the idle clock as long as it is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import quote, unquote_to_bytes

import msgspec
from msgspec import Meta

from rock.wire.commands import FollowCommandRequest, Signal
from rock.wire.errors import ErrorBody, RockException, from_body
from rock.wire.messages import Empty, Path
from rock.wire.operations import PREFIX
from rock.wire.spec import Seconds

__all__ = [
    "ATTACH_COMMAND",
    "CONNECT_PORT",
    "ERROR_HEADER",
    "FORWARD_PORT",
    "OPEN_CONSOLE",
    "PORT_HEADER",
    "TOKEN_HEADER",
    "TUNNELS",
    "CommandControl",
    "ConsoleExit",
    "ConsoleRequest",
    "Resize",
    "Tunnel",
    "refusal_from_headers",
    "refusal_to_header",
]

PORT_HEADER = "X-Rock-Port"
"""In every answer of a server behind a forwarded port, with the port's number: what lacks it is said by us."""
TOKEN_HEADER = "X-Rock-Token"  # noqa: S105 - a header's name
"""The sandbox's token, on the way to a port behind which a server has an `Authorization` of its own."""
ERROR_HEADER = "X-Rock-Error"
"""The error, for WebSocket clients: they are not shown the body of an answer that refuses one."""

_Lines = Annotated[int, Meta(ge=1, le=10_000, description="a terminal's size in characters, 1 to 10000")]
_Word = Annotated[str, Meta(max_length=131_072, pattern=r"^[^\x00]*\Z", description="text without NUL")]
_Term = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9+._-]{0,63}\Z", description="a terminal such as xterm")]


class ConsoleRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A program on a terminal of its own, for a person who sits at the other end."""

    command: Annotated[list[_Word], Meta(max_length=1024, description="at most 1024 words")] = []
    """Run as it stands; empty: the sandbox's shell."""
    cwd: Path | None = None
    user: Annotated[str, Meta(min_length=1, max_length=256, description="a user's name")] | None = None
    term: _Term = "xterm-256color"
    """What kind of terminal it is, for TERM."""
    rows: _Lines = 24
    cols: _Lines = 80
    heartbeat: Seconds = 20.0
    """How often the caller is pinged, so that whatever is in between does not take the tunnel for dead."""


class CommandControl(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a command is told beside its stdin: a text frame to it."""

    signal: Signal | None = None
    """For its process group."""
    is_last: bool = False
    """Whether its stdin ends here."""


class Resize(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The window's new size: a text frame to a console."""

    rows: _Lines
    cols: _Lines


class ConsoleExit(msgspec.Struct, frozen=True, kw_only=True):
    """How a console's program ended: its last text frame."""

    exit_code: int
    """As a shell tells it: 128 + n after signal n."""


class Tunnel(msgspec.Struct, frozen=True, kw_only=True):
    """One way for bytes."""

    name: str
    path: str
    """`{port}` is a port in the sandbox, `{path}` whatever follows."""
    request: type[Any] = Empty
    """What the query string says.  Behind a forwarded port it is the server's there, and so not ours to read."""

    @property
    def gateway_path(self) -> str:
        """Its path at a gateway."""
        return f"{PREFIX}/sandboxes/{{sandbox_id}}{self.path.removeprefix(PREFIX)}"


FORWARD_PORT = Tunnel(name="forward_port", path="/v1/ports/{port}/{path}")
"""HTTP of any method, and WebSockets, to a server in the sandbox."""
CONNECT_PORT = Tunnel(name="connect_port", path="/v1/tcp/{port}")
"""TCP over a WebSocket: binary frames are its bytes; an empty text frame says that the client has sent all."""
OPEN_CONSOLE = Tunnel(name="open_console", path="/v1/pty", request=ConsoleRequest)
"""A terminal over a WebSocket: binary frames are keys and output, text frames are `Resize` and `ConsoleExit`."""

ATTACH_COMMAND = Tunnel(name="attach_command", path="/v1/commands/attach", request=FollowCommandRequest)
"""A command that runs by itself, over a WebSocket: binary frames are its stdin and, in `rock.wire.frames`, what it
prints, of which the last one is its END; text frames are `CommandControl`.  Input that is on its way when the WebSocket
is lost may have arrived or not; `send_input` is sure of that."""

TUNNELS: MappingProxyType[str, Tunnel] = MappingProxyType(
    {tunnel.name: tunnel for tunnel in (FORWARD_PORT, CONNECT_PORT, OPEN_CONSOLE, ATTACH_COMMAND)}
)
"""Every tunnel by its name."""


def refusal_to_header(body: bytes) -> str:
    """An encoded `ErrorBody` as `ERROR_HEADER` carries it."""
    return quote(body)


def refusal_from_headers(headers: Mapping[str, str], status: int) -> RockException | None:
    """The error that refused a WebSocket; None if it was none of ours."""
    try:
        body = msgspec.json.decode(unquote_to_bytes(headers.get(ERROR_HEADER, "")), type=ErrorBody)
    except msgspec.MsgspecError:
        return None
    return from_body(body, status)
