from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import aiohttp
import msgspec
import pytest
from aiohttp import WSMsgType
from yarl import URL

from rock.wire.codec import decode
from rock.wire.commands import CommandStatus, StartCommandRequest
from rock.wire.envs import EnvStart, MakeEnvRequest, ResetEnvRequest, StepEnvRequest
from rock.wire.errors import ErrorBody
from rock.wire.frames import FrameDecoder, FrameKind
from rock.wire.messages import CreateSessionRequest, ExecuteRequest, ReadFileRequest, RunRequest, WriteFileRequest
from rock.wire.operations import (
    CREATE_SESSION,
    EXECUTE,
    MAKE_ENV,
    READ_FILE,
    RESET_ENV,
    RUN_IN_SESSION,
    START_COMMAND,
    STEP_ENV,
    WRITE_FILE,
    Operation,
)
from rock.wire.tunnels import PORT_HEADER, TOKEN_HEADER, refusal_from_headers
from rock_nomad.gateway.tunnels import relocate
from tests.cluster import Cluster
from tests.gateways import Gateway, serve_in, start_gateway, start_gateway_process
from tests.gems import need_gem

MB = 2**20
_Req = TypeVar("_Req", bound=msgspec.Struct)
_Res = TypeVar("_Res", bound=msgspec.Struct)
ROOMY = 512 * MB
"""Memory of a sandbox with servers in it."""


@dataclass
class Served:
    """A sandbox with a server in it."""

    gateway: Gateway
    sandbox_id: str
    port: int

    @property
    def url(self) -> str:
        return f"{self.gateway.url}/v1/sandboxes/{self.sandbox_id}"

    @property
    def root(self) -> str:
        return f"{self.url}/ports/{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.gateway.key}"}


@pytest.fixture
async def served(embedded_gateway: Gateway) -> Served:
    created = await embedded_gateway.create(memory_bytes=ROOMY)
    return Served(embedded_gateway, created.sandbox_id, await serve_in(embedded_gateway, created.sandbox_id))


@pytest.mark.parametrize(
    ("location", "moved"),
    [
        ("/a?b=c#d", "/root/a?b=c#d"),
        ("/", "/root/"),
        ("/root/a", "/root/a"),
        ("a/b", "a/b"),
        ("?page=2", "?page=2"),
        ("//elsewhere/a", "//elsewhere/a"),
        ("http://127.0.0.1:8000/a%2Fb?c", "/root/a%2Fb?c"),
        ("http://localhost:8000", "/root/"),
        ("http://127.0.0.1:8001/a", "http://127.0.0.1:8001/a"),
        ("https://example.org/a", "https://example.org/a"),
        ("", ""),
        ("http://127.0.0.1:port/", "http://127.0.0.1:port/"),
        ("http://[/", "http://[/"),
    ],
)
def test_a_redirection_of_the_servers_own_stays_at_the_gateway(location: str, moved: str) -> None:
    assert relocate(location, "/root", "8000") == moved


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_any_request_passes_as_it_is_without_the_callers_key(served: Served, method: str) -> None:
    url = URL(f"{served.root}/show/a%2Fb/%E2%82%AC?x=1&x=%20&y", encoded=True)
    body = b"\x00\xff" if method in ("POST", "PUT", "PATCH") else None
    sent = {**served.headers, "X-API-Key": "k", "XRL-Authorization": "Bearer k", "Cookie": "a=b", "X-Mine": "1"}
    async with served.gateway.session.request(method, url, data=body, headers=sent) as reply:
        assert (reply.status, reply.headers["X-Own"], reply.headers[PORT_HEADER]) == (200, "1", str(served.port))
        if method == "HEAD":
            return
        said = await reply.json()
    assert (said["method"], said["path"]) == (method, "/show/a%2Fb/%E2%82%AC?x=1&x=%20&y")
    assert said["body"] == ("" if body is None else "\x00ÿ")
    assert (said["headers"]["x-mine"], said["headers"]["cookie"]) == ("1", "a=b")
    assert not {"authorization", "x-api-key", "xrl-authorization"} & set(said["headers"])


@pytest.mark.slow
async def test_an_authorization_of_the_servers_own_reaches_it_and_the_sandboxes_token_does_not(served: Served) -> None:
    sent = {"X-API-Key": served.gateway.key, "Authorization": "Bearer of the server"}
    async with served.gateway.session.get(f"{served.root}/show", headers=sent) as reply:
        said = (await reply.json())["headers"]
    assert said["authorization"] == "Bearer of the server"
    assert not {"x-api-key", TOKEN_HEADER.lower()} & set(said)


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 404, 500, 503])
async def test_a_servers_own_refusal_is_not_taken_for_ours(served: Served, status: int) -> None:
    async with served.gateway.session.get(f"{served.root}/show?status={status}", headers=served.headers) as reply:
        assert (reply.status, (await reply.json())["method"]) == (status, "GET")


@pytest.mark.slow
async def test_events_redirections_and_cut_answers_pass_as_such(served: Served) -> None:
    get, headers = served.gateway.session.get, served.headers
    async with get(f"{served.root}/events", headers=headers) as reply:
        for number in range(3):
            assert await asyncio.wait_for(reply.content.readline(), 5) == f"data: {number}\n".encode()
            assert await reply.content.readline() == b"\n"
            async with get(f"{served.root}/next", headers=headers):
                pass
    async with get(f"{served.root}/move?to=/show", headers=headers) as reply:
        assert (reply.status, (await reply.json())["path"]) == (200, "/show")
    with pytest.raises(aiohttp.ClientPayloadError):
        async with get(f"{served.root}/cut", headers=headers) as reply:
            await reply.read()


@pytest.mark.slow
async def test_a_websocket_passes_with_path_protocol_and_farewell(served: Served) -> None:
    connect = served.gateway.session.ws_connect(f"{served.root}/ws?a=1", protocols=["v1", "v2"], headers=served.headers)
    async with connect as ws:
        assert ws.protocol == "v2"
        assert await ws.receive_str() == "/ws?a=1 v2 v1,v2"
        for size in (0, 1, MB):
            await ws.send_bytes(b"\x01" * size)
            assert await ws.receive_bytes() == b"\x01" * size
        await ws.send_str("close 4001")
        message = await ws.receive()
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 4001, "as you wish")


@pytest.mark.slow
async def test_tcp_makes_its_round_trip(served: Served) -> None:
    port = await serve_in(served.gateway, served.sandbox_id, "--raw")
    data = os.urandom(3 * MB)
    async with served.gateway.session.ws_connect(f"{served.url}/tcp/{port}", headers=served.headers) as ws:
        for at in range(0, len(data), 2**16):
            await ws.send_bytes(data[at : at + 2**16])
        await ws.send_str("")
        assert b"".join([message.data async for message in ws]) == hashlib.sha256(data).hexdigest().encode()


@pytest.mark.slow
async def test_a_port_of_another_sandbox_of_the_host_or_of_the_system_is_refused(served: Served) -> None:
    other = await served.gateway.create(memory_bytes=ROOMY)
    others = await serve_in(served.gateway, other.sandbox_id)
    with socket.create_server(("127.0.0.1", 0)) as host:
        gateway_port = URL(served.gateway.url).port
        for port in (others, host.getsockname()[1], gateway_port, 22):
            url = f"{served.url}/ports/{port}/show"
            async with served.gateway.session.get(url, headers=served.headers) as reply:
                assert (reply.status, decode(ErrorBody, await reply.read()).code) == (403, "forbidden")
            for way in (f"tcp/{port}", f"ports/{port}/ws"):
                with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                    await served.gateway.session.ws_connect(f"{served.url}/{way}", headers=served.headers)
                assert caught.value.status == 403


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ports/8000/", "tcp/8000", "pty"])
async def test_nothing_opens_for_strangers(served: Served, way: str) -> None:
    for key, status in (("wrong", 401), ("key-b", 404)):
        headers = {"Authorization": f"Bearer {key}"}
        async with served.gateway.session.get(f"{served.url}/{way}", headers=headers) as reply:
            assert reply.status == status


@pytest.mark.slow
async def test_only_the_ports_that_the_request_names_are_forwarded(embedded_gateway: Gateway) -> None:
    created = await embedded_gateway.create(ports=[8000], memory_bytes=ROOMY)
    port = await serve_in(embedded_gateway, created.sandbox_id)
    served = Served(embedded_gateway, created.sandbox_id, port)
    async with embedded_gateway.session.get(f"{served.root}/show", headers=served.headers) as reply:
        assert (reply.status, "names 8000" in (await reply.json())["message"]) == (403, True)


@pytest.mark.slow
async def test_an_ended_sandbox_says_so(served: Served) -> None:
    await served.gateway.session.post(f"{served.url}/stop", headers=served.headers)
    for way in ("ports/8000/", "tcp/8000"):
        async with served.gateway.session.get(f"{served.url}/{way}", headers=served.headers) as reply:
            assert (reply.status, (await reply.json())["code"]) == (410, "sandbox_ended")
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await served.gateway.session.ws_connect(f"{served.url}/pty", headers=served.headers)
    assert caught.value.status == 410


@pytest.mark.slow
async def test_a_console_answers_through_the_gateway_and_a_wrong_one_is_refused_in_words(served: Served) -> None:
    connect = served.gateway.session.ws_connect
    asked = [("command", "sh"), ("command", "-c"), ("command", "tty; exit 7")]
    async with connect(f"{served.url}/pty", params=asked, headers=served.headers) as ws:
        messages = [message async for message in ws]
    assert messages[0].data.startswith(b"/dev/pts/")
    assert messages[-1].data == '{"exit_code":7}'
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await connect(f"{served.url}/pty", params={"user": "nobody-of-that-name"}, headers=served.headers)
    assert caught.value.headers is not None
    error = refusal_from_headers(caught.value.headers, caught.value.status)
    assert error is not None
    assert "nobody-of-that-name" in error.message


@pytest.mark.slow
async def test_a_command_is_attached_to_through_the_gateway(served: Served) -> None:
    request = StartCommandRequest(command="read x; echo got $x; echo over >&2; exit 7", keep_stdin=True)
    begun = await served.gateway.call(START_COMMAND, request, sandbox_id=served.sandbox_id)
    decoder, seen = FrameDecoder(), dict[FrameKind, bytes]()
    params = {"command_id": begun.command_id}
    url = f"{served.url}/commands/attach"
    async with served.gateway.session.ws_connect(url, params=params, headers=served.headers) as ws:
        await ws.send_bytes(b"it\n")
        async for message in ws:
            seen |= dict(decoder.feed(message.data))
    assert (seen[FrameKind.STDOUT], seen[FrameKind.STDERR]) == (b"got it\n", b"over\n")
    assert decode(CommandStatus, seen[FrameKind.END]).exit_code == 7


class _Crowd:
    """Callers who each know what their own answer must be."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._boards: dict[int, object] = {}

    async def prepare(self) -> None:
        """Two sessions, and four environments with the boards that their seeds have when nothing else goes on."""
        for session in ("even", "odd"):
            await self._call(CREATE_SESSION, CreateSessionRequest(session=session))
        for number in range(4):
            await self._call(MAKE_ENV, MakeEnvRequest(env=f"env-{number}", env_id="game:Sokoban-v0-easy"))
            self._boards[number] = (await self._reset(number)).info
        assert len({str(board) for board in self._boards.values()}) == 4

    async def in_bash(self, number: int) -> None:
        session = ("even", "odd")[number % 2]
        ran = await self._call(RUN_IN_SESSION, RunRequest(session=session, command=f"sleep 0.1; echo {number}"))
        assert ran.output == f"{number}\n"

    async def execute(self, number: int) -> None:
        ran = await self._call(EXECUTE, ExecuteRequest(command=f"sleep 0.1; cat; exit {number}", stdin=f"in {number}"))
        assert (ran.stdout, ran.exit_code) == (f"in {number}", number)

    async def move_files(self, number: int) -> None:
        path, content = f"~/file-{number}", f"{number}\n" * 100_000
        await self._call(WRITE_FILE, WriteFileRequest(path=path, content=content))
        assert (await self._call(READ_FILE, ReadFileRequest(path=path))).content == content

    async def at_a_terminal(self, number: int) -> None:
        url = f"{self.served.url}/pty"
        asked = [("command", part) for part in ("sh", "-c", f"echo {number}; exit {number}")]
        async with self.served.gateway.session.ws_connect(url, params=asked, headers=self.served.headers) as console:
            said = [message.data async for message in console]
        assert (said[0].split()[0], said[-1]) == (str(number).encode(), f'{{"exit_code":{number}}}')

    async def at_a_port(self, number: int) -> None:
        url = f"{self.served.root}/show/{number}"
        async with self.served.gateway.session.post(url, data=str(number), headers=self.served.headers) as reply:
            said = await reply.json()
        assert (said["path"], said["body"]) == (f"/show/{number}", str(number))

    async def play(self, number: int) -> None:
        assert (await self._reset(number)).info == self._boards[number]
        step = await self._call(STEP_ENV, StepEnvRequest(env=f"env-{number}", action=r"\boxed{up}"))
        assert not step.terminated

    async def _reset(self, number: int) -> EnvStart:
        return await self._call(RESET_ENV, ResetEnvRequest(env=f"env-{number}", seed=number))

    async def _call(self, operation: Operation[_Req, _Res], request: _Req) -> _Res:
        return await self.served.gateway.call(operation, request, sandbox_id=self.served.sandbox_id)


@pytest.mark.slow
async def test_many_actions_of_every_protocol_at_once_each_answer_their_own_caller(embedded: Cluster) -> None:
    async with start_gateway(embedded, env={"ROCKLET_GEM_PYTHON": need_gem()}) as gateway:
        created = await gateway.create(memory_bytes=2 * ROOMY)
        crowd = _Crowd(Served(gateway, created.sandbox_id, await serve_in(gateway, created.sandbox_id)))
        await crowd.prepare()
        callers = (crowd.in_bash, crowd.execute, crowd.move_files, crowd.at_a_terminal, crowd.at_a_port, crowd.play)
        for _ in range(3):
            await asyncio.gather(*(act(number) for number in range(4) for act in callers))


@pytest.mark.slow
async def test_twenty_actions_of_four_protocols_at_once_answer_each_its_caller(served: Served) -> None:
    session, headers = served.gateway.session, served.headers

    async def in_session(word: str) -> str:
        rock = f"{served.gateway.url}/apis/envs/sandbox/v1"
        about = {"sandbox_id": served.sandbox_id, "session": word}
        async with session.post(f"{rock}/create_session", json=about, headers=headers):
            wanted = {**about, "command": f"sleep 0.1; echo {word}"}
            async with session.post(f"{rock}/run_in_session", json=wanted, headers=headers) as ran:
                return str((await ran.json())["result"]["output"])

    async def by_itself(word: str) -> str:
        async with session.post(f"{served.url}/execute", json={"command": f"echo {word}"}, headers=headers) as ran:
            return str((await ran.json())["stdout"]).strip()

    async def of_a_port(word: str) -> str:
        async with session.post(f"{served.root}/show", data=word.encode(), headers=headers) as reply:
            return str((await reply.json())["body"])

    async def on_a_terminal(word: str) -> str:
        asked = [("command", "echo"), ("command", word)]
        async with session.ws_connect(f"{served.url}/pty", params=asked, headers=headers) as ws:
            return b"".join([each.data async for each in ws if each.type is WSMsgType.BINARY]).decode().strip()

    ways = [in_session, by_itself, of_a_port, on_a_terminal] * 5
    words = [f"{way.__name__.replace('_', '-')}-{number}" for number, way in enumerate(ways)]
    assert await asyncio.gather(*(way(word) for way, word in zip(ways, words, strict=True))) == words


def _rss(pid: int) -> int:
    """Bytes of memory that a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@asynccontextmanager
async def _watched(*pids: int) -> AsyncIterator[list[int]]:
    """The most by which the memory of any of these processes grows while the block runs, at its end."""
    before = {pid: _rss(pid) for pid in pids}
    grown = [0]
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            grown[0] = max(grown[0], *(_rss(pid) - before[pid] for pid in pids))
            try:
                await asyncio.wait_for(done.wait(), 0.02)
            except TimeoutError:
                continue

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        yield grown
        done.set()


async def _rocklet_pid(served: Served) -> int:
    async with served.gateway.session.get(f"{served.url}/clocks", headers=served.headers) as reply:
        pid: int = (await reply.json())["pid"]
        return pid


@pytest.mark.slow
async def test_100_mb_pass_every_way_with_flat_memory(embedded: Cluster) -> None:
    size = 100 * 10**6
    async with start_gateway_process(embedded) as gateway:
        created = await gateway.create(memory_bytes=ROOMY)
        served = Served(gateway, created.sandbox_id, await serve_in(gateway, created.sandbox_id))
        raw = await serve_in(gateway, created.sandbox_id, "--raw")
        assert gateway.process is not None
        piece = b"0123456789abcdef" * 4096
        expected = hashlib.sha256((piece * (size // len(piece) + 1))[:size]).hexdigest()
        async with _watched(gateway.process.pid, await _rocklet_pid(served)) as grown:
            found = hashlib.sha256()
            async with gateway.session.get(f"{served.root}/big?size={size}", headers=served.headers) as reply:
                assert reply.status == 200, await reply.text()
                async for chunk in reply.content.iter_any():
                    found.update(chunk)
            assert found.hexdigest() == expected

            async def pieces() -> AsyncIterator[bytes]:
                for at in range(0, size, len(piece)):
                    yield piece[: size - at]

            async with gateway.session.post(f"{served.root}/digest", data=pieces(), headers=served.headers) as reply:
                assert await reply.json() == {"size": size, "sha256": expected}
            async with gateway.session.ws_connect(f"{served.url}/tcp/{raw}", headers=served.headers) as ws:
                async for each in pieces():
                    await ws.send_bytes(each)
                await ws.send_str("")
                assert b"".join([message.data async for message in ws]) == expected.encode()
        assert grown[0] < 64 * MB, f"{grown[0] / MB:.0f} MiB more"


@pytest.mark.slow
async def test_a_client_that_reads_nothing_makes_nobody_hold_the_rest(embedded: Cluster) -> None:
    async with start_gateway_process(embedded) as gateway:
        created = await gateway.create(memory_bytes=ROOMY)
        served = Served(gateway, created.sandbox_id, await serve_in(gateway, created.sandbox_id))
        assert gateway.process is not None
        asked = [("command", "sh"), ("command", "-c"), ("command", "cat /dev/zero")]
        async with (
            _watched(gateway.process.pid, await _rocklet_pid(served)) as grown,
            gateway.session.get(f"{served.root}/big?size={10**9}", headers=served.headers) as reply,
            gateway.session.ws_connect(f"{served.url}/pty", params=asked, headers=served.headers) as ws,
        ):
            assert await reply.content.readexactly(16) == b"0123456789abcdef"
            assert await ws.receive_bytes()
            await asyncio.sleep(1)  # for what should not happen
            reply.close()
        assert grown[0] < 64 * MB, f"{grown[0] / MB:.0f} MiB more"
