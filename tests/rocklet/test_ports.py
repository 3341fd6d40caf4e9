from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from rock.wire.errors import Forbidden, InvalidRequest, PortClosed
from rocklet.config import Settings, read_settings
from rocklet.ports import Ports
from tests.rocklet.conftest import Serve

OWN = 22_555


@pytest.fixture
def stranger() -> Iterator[int]:
    """A port on which a process listens that no command of the sandbox has started: this one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def _ports(settings: Settings, *allowed: int, shares_network: bool = True) -> Ports:
    return Ports(msgspec.structs.replace(settings, port=OWN, ports=list(allowed), shares_network=shares_network))


@pytest.mark.parametrize("port", ["", "x", "0", "-1", "+80", "65536", "99999999", "8080.0", "８０８０", " 80"])
def test_what_is_no_port_is_refused_with_the_remedy(settings: Settings, port: str) -> None:
    with pytest.raises(InvalidRequest, match="1 to 65535"):
        _ports(settings).locate(port)


@pytest.mark.parametrize("port", [1, 22, 1023, OWN])
def test_the_systems_ports_and_the_rocklets_own_are_not_forwarded(settings: Settings, port: int) -> None:
    with pytest.raises(Forbidden, match=f"port {port} is not forwarded"):
        _ports(settings, shares_network=False).locate(str(port))


def test_where_the_request_names_ports_no_others_are_forwarded(settings: Settings) -> None:
    ports = _ports(settings, 80, 8080, OWN, shares_network=False)
    assert ports.locate("80") == (80, ["127.0.0.1", "::1"])
    for port in (8081, OWN):
        with pytest.raises(Forbidden, match="names 80, 8080"):
            ports.locate(str(port))


def test_on_a_shared_network_a_port_of_another_process_is_refused(settings: Settings, stranger: int) -> None:
    with pytest.raises(Forbidden, match="not this sandbox's"):
        _ports(settings).locate(str(stranger))
    with pytest.raises(Forbidden, match="not this sandbox's"):
        _ports(settings, stranger).locate(str(stranger))


def test_a_port_where_nobody_listens_says_so(settings: Settings, stranger: int) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        with pytest.raises(PortClosed, match="start a server"):
            _ports(settings).locate(str(unheard.getsockname()[1]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "found"),
    [("127.0.0.1", ["127.0.0.1"]), ("0.0.0.0", ["127.0.0.1"]), ("::1", ["::1"]), ("::", ["127.0.0.1", "::1"])],
)
async def test_a_server_of_the_sandbox_is_found_where_it_listens(
    settings: Settings, serve: Serve, host: str, found: list[str]
) -> None:
    async with serve(host) as port:
        assert await asyncio.to_thread(_ports(settings).locate, str(port)) == (port, found)


@pytest.mark.slow
async def test_one_who_shares_a_port_with_a_stranger_does_not_get_the_strangers_callers(
    settings: Settings, serve: Serve
) -> None:
    async with serve("::1") as port:
        with socket.create_server(("127.0.0.1", port)):
            assert await asyncio.to_thread(_ports(settings).locate, str(port)) == (port, ["::1"])


def test_a_rocklet_that_is_not_told_so_does_not_take_the_network_for_its_own(tmp_path: Path) -> None:
    environ = {"ROCKLET_SANDBOX_ID": "s", "ROCKLET_TOKEN_SHA256": "0" * 64, "ROCKLET_PORT": "0"}
    assert read_settings([], {**environ}).shares_network
    assert not read_settings([], {**environ, "ROCKLET_OWNS_NETWORK": "1"}).shares_network
