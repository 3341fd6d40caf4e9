"""The proxy over rocklets of its own kind: servers that answer, hang up or lie as the test wants."""

import asyncio
import hashlib
import io
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from rock.wire.commands import StartCommandRequest
from rock.wire.errors import OutcomeUnknown, RockException, SandboxEnded, SandboxUnreachable, StartFailed
from rock.wire.messages import RockletEndpoint, RunRequest
from rock.wire.operations import (
    CREATE_SESSION,
    FOLLOW_COMMAND,
    OPERATIONS,
    REQUEST_ID_HEADER,
    RUN_IN_SESSION,
    START_COMMAND,
)
from rock.wire.reasons import Reason
from rock_nomad.gateway.auth import OpenDoor
from rock_nomad.gateway.dialects.native import Native
from rock_nomad.gateway.proxy import Proxy
from rock_nomad.gateway.rocklets import Rocklets, open_session
from rock_nomad.gateway.roles import Gate
from rock_nomad.gateway.server import add_routes, create_server
from rocklet.config import Settings
from rocklet.server import listen
from tests.followers import COMPLAINED, SAID, TALK, Follower
from tests.gateways import Gateway

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class _Known:
    """A resolver that knows a list of addresses, each until it is forgotten, and then how the sandbox ended."""

    urls: list[str]
    end: RockException

    async def resolve(self, tenant: str, sandbox_id: str) -> RockletEndpoint:
        if not self.urls:
            raise self.end
        return RockletEndpoint(sandbox_id=sandbox_id, url=self.urls[0], token="t", alloc_id="a")

    def forget(self, tenant: str, endpoint: RockletEndpoint) -> None:
        if endpoint.url in self.urls:
            self.urls.remove(endpoint.url)

    async def why_gone(self, tenant: str, sandbox_id: str) -> RockException:
        return self.end


@asynccontextmanager
async def _serve(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _rocklet(answer: Answer) -> AsyncIterator[str]:
    async def serve(request: web.Request) -> web.StreamResponse:
        return await answer(request)

    async def name_request(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.setdefault(REQUEST_ID_HEADER, request.headers[REQUEST_ID_HEADER])

    app = web.Application(client_max_size=2**30)
    app.on_response_prepare.append(name_request)
    app.router.add_route("*", "/{path:.*}", serve)
    async with _serve(app) as url:
        yield url


@asynccontextmanager
async def _gateway(*urls: str, end: RockException | None = None) -> AsyncIterator[Gateway]:
    async with open_session() as session:
        known = _Known(list(urls), end or SandboxEnded("it ended", reason=Reason.IDLE))
        proxy = Proxy(session, Rocklets(session), known)  # type: ignore[arg-type]  # a fake at the seam
        app = create_server([Native()], OpenDoor(), is_open=True)
        handlers = {name: _not_here for name, op in OPERATIONS.items() if op.served_by == "gateway"}
        del handlers["read_log"]
        add_routes(app, [Native()], handlers, {"read_log": _no_stream}, proxy, gate=Gate())
        async with _serve(app) as url, aiohttp.ClientSession() as client:
            yield Gateway(url, "k", client)


async def _not_here(*_args: object) -> RunRequest:
    raise AssertionError("the proxy serves rocklets' operations only")


def _no_stream(*_args: object) -> AsyncGenerator[bytes, None]:
    raise AssertionError("the proxy serves rocklets' operations only")


async def _echo(request: web.Request) -> web.StreamResponse:
    return web.Response(
        status=418, body=await request.read(), headers={"X-Token": request.headers["Authorization"], "X-Own": "1"}
    )


async def _cut(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    await asyncio.Event().wait()
    raise AssertionError


async def _refuse(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=401)


class _Times:
    """Answers differently from time to time."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.ids = list(answers), list[str]()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.ids.append(request.headers[REQUEST_ID_HEADER])
        await request.read()
        return await (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(request)


async def test_a_rocklets_status_headers_and_body_pass_as_they_are() -> None:
    async with (
        _rocklet(_echo) as rocklet,
        _gateway(rocklet) as gateway,
        gateway.session.post(
            f"{gateway.url}/v1/sandboxes/s/sessions/run", data=b"\x00\xff", headers={"Authorization": "Bearer mine"}
        ) as reply,
    ):
        assert (reply.status, await reply.read()) == (418, b"\x00\xff")
        assert (reply.headers["X-Token"], reply.headers["X-Own"]) == ("Bearer t", "1")


async def test_a_call_whose_connection_was_cut_after_sending_is_sent_again_under_the_same_id() -> None:
    times = _Times(_cut, _echo)
    async with (
        _rocklet(times) as rocklet,
        _gateway(rocklet) as gateway,
        gateway.session.post(f"{gateway.url}/v1/sandboxes/s/sessions/run", data=b"body") as reply,
    ):
        assert (reply.status, await reply.read()) == (418, b"body")
    assert len(times.ids) == 2
    assert len(set(times.ids)) == 1


@pytest.mark.parametrize(
    ("end", "raised"),
    [
        (SandboxEnded("it ended", reason=Reason.IDLE), SandboxEnded),
        (StartFailed("it was lost", reason=Reason.NODE_LOST), OutcomeUnknown),
        (SandboxUnreachable("nobody knows"), OutcomeUnknown),
    ],
    ids=["idle", "node_lost", "unreachable"],
)
async def test_when_the_rocklet_is_lost_after_sending_the_outcome_is_unknown(
    end: RockException, raised: type[RockException]
) -> None:
    async with _rocklet(_cut) as rocklet, _gateway(rocklet, end=end) as gateway:
        with pytest.raises(raised) as caught:
            await gateway.call(RUN_IN_SESSION, RunRequest(command="x"), sandbox_id="s")
    assert (caught.value.reason, caught.value.details["executed"]) == (end.reason, "unknown")


async def test_a_stale_address_is_dropped_and_the_call_goes_to_the_new_one() -> None:
    async with _rocklet(_refuse) as stale, _rocklet(_echo) as fresh, _gateway(stale, fresh) as gateway:
        for _ in range(2):
            async with gateway.session.post(f"{gateway.url}/v1/sandboxes/s/execute", data=b"body") as reply:
                assert (reply.status, await reply.read()) == (418, b"body")


async def test_a_server_that_is_no_rocklet_is_not_believed() -> None:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _greet)
    async with _serve(app) as foreign, _gateway(foreign) as gateway:
        with pytest.raises(SandboxEnded):
            await gateway.call(CREATE_SESSION, sandbox_id="s")


async def _greet(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="hello")


async def test_where_nobody_listens_the_error_says_how_the_sandbox_ended() -> None:
    async with _rocklet(_echo) as gone:
        pass
    async with _gateway(gone) as gateway:
        with pytest.raises(SandboxEnded) as caught:
            await gateway.call(CREATE_SESSION, sandbox_id="s")
    assert caught.value.reason is Reason.IDLE


async def test_a_large_body_that_met_a_stale_address_is_not_sent_in_part() -> None:
    async with (
        _rocklet(_refuse_late) as stale,
        _rocklet(_echo) as fresh,
        _gateway(stale, fresh) as gateway,
        gateway.session.put(
            f"{gateway.url}/v1/sandboxes/s/files", params={"path": "/x"}, data=io.BytesIO(bytes(4 * 2**20))
        ) as reply,
    ):
        assert (reply.status, (await reply.json())["code"]) == (SandboxUnreachable.status, SandboxUnreachable.error)


async def _refuse_late(request: web.Request) -> web.StreamResponse:
    await request.read()
    return web.Response(status=401)


async def test_a_reply_that_is_cut_on_its_way_does_not_look_whole() -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with _rocklet(half) as rocklet, _gateway(rocklet) as gateway:
        with pytest.raises(aiohttp.ClientError):
            async with gateway.session.get(f"{gateway.url}/v1/sandboxes/s/files", params={"path": "/x"}) as reply:
                await reply.read()


@pytest.mark.parametrize(("sent", "canceled"), [({}, True), ({REQUEST_ID_HEADER: "mine"}, False)])
async def test_a_client_that_goes_away_ends_its_action_unless_it_may_come_again(
    sent: dict[str, str], canceled: bool
) -> None:
    begun, left, cancels = asyncio.Event(), asyncio.Event(), list[str]()

    async def act(request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/cancel":
            cancels.append((await request.json())["request_id"])
            return web.json_response({"canceled": True})
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        raise AssertionError

    async with _rocklet(act) as rocklet, _gateway(rocklet) as gateway:
        async with asyncio.TaskGroup() as tasks:
            request = RunRequest(command="x")
            call = tasks.create_task(gateway.call(RUN_IN_SESSION, request, sandbox_id="s", headers=sent))
            await begun.wait()
            call.cancel()
        await asyncio.wait_for(left.wait(), 5)
    assert bool(cancels) is canceled


@pytest.mark.slow
async def test_files_stream_both_ways_through_little_memory(tmp_path: Path) -> None:
    size = 64 * 2**20

    async def keep(request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            digest = hashlib.sha256()
            async for chunk in request.content.iter_any():
                digest.update(chunk)
            return web.Response(text=digest.hexdigest())
        response = web.StreamResponse(headers={"Content-Length": str(size)})
        await response.prepare(request)
        for _ in range(size // 2**16):
            await response.write(bytes(2**16))
        return response

    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(size)
    before = _resident_bytes()
    async with _rocklet(keep) as rocklet, _gateway(rocklet) as gateway:
        address = f"{gateway.url}/v1/sandboxes/s/files?path=/x"
        with path.open("rb") as content:
            async with gateway.session.put(address, data=content) as reply:
                assert await reply.text() == hashlib.sha256(bytes(size)).hexdigest()
        seen = 0
        async with gateway.session.get(address) as reply:
            async for chunk in reply.content.iter_any():
                seen += len(chunk)
        assert seen == size
    assert _resident_bytes() - before < size // 2


@pytest.mark.slow
@settings(max_examples=8)
@given(st.lists(st.integers(min_value=1, max_value=8000), min_size=1, max_size=6))
def test_a_stream_whose_connections_are_killed_loses_and_doubles_no_byte(
    tmp_path_factory: pytest.TempPathFactory, kills: list[int]
) -> None:
    token_sha256 = hashlib.sha256(b"t").hexdigest()  # of the token that `_Known` tells
    told = Settings(
        sandbox_id="s", token_sha256=token_sha256, host="127.0.0.1", home=str(tmp_path_factory.getbasetemp())
    )

    async def check() -> None:
        async with (
            listen(told) as rocklet,
            _gateway(f"http://127.0.0.1:{rocklet.port}") as gateway,
            asyncio.timeout(60),
        ):
            begun = await gateway.call(START_COMMAND, StartCommandRequest(command=TALK), sandbox_id="s")
            path = FOLLOW_COMMAND.gateway_path.format(sandbox_id="s")
            follower = Follower(gateway.session, begun.command_id, f"{gateway.url}{path}")
            for after in kills:
                await follower.follow_killed(after)
            await follower.follow()
        assert (bytes(follower.stdout), bytes(follower.stderr)) == (SAID, COMPLAINED)
        assert follower.end is not None
        assert follower.end.exit_code == 7

    asyncio.run(check())


@pytest.mark.slow
async def test_heartbeats_pass_the_gateway(tmp_path: Path) -> None:
    told = Settings(sandbox_id="s", token_sha256=hashlib.sha256(b"t").hexdigest(), host="127.0.0.1", home=str(tmp_path))
    async with listen(told) as rocklet, _gateway(f"http://127.0.0.1:{rocklet.port}") as gateway, asyncio.timeout(60):
        begun = await gateway.call(START_COMMAND, StartCommandRequest(command=["sleep", "300"]), sandbox_id="s")
        path = FOLLOW_COMMAND.gateway_path.format(sandbox_id="s")
        follower = Follower(gateway.session, begun.command_id, f"{gateway.url}{path}", heartbeat=0.01)
        async with follower.attached() as reply:
            while follower.heartbeats < 3:
                await follower.take(reply, at_least=1)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
