from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from rock._transport import Call, Lost, NotSent, Route, Stale
from rock.wire import messages as m
from rock.wire.errors import BadRequestRockError, FileNotFound, InternalError, Unauthorized
from rock.wire.operations import (
    CREATE_SESSION,
    DOWNLOAD,
    EXECUTE,
    GET_SANDBOX,
    IS_ALIVE,
    READ_FILE,
    RUN_IN_SESSION,
    UPLOAD,
)
from tests.rock.servers import Seen, WireServer, black_hole, refused_url, running, serve

READ = Call(operation=READ_FILE, request=m.ReadFileRequest(path="/a"), request_id="r1", sandbox_id="s 1")


def to(server: WireServer | str, *, is_direct: bool = True, timeout: float = 60.0) -> Route:
    url = server if isinstance(server, str) else server.url
    headers = {"Authorization": "Bearer secret"}
    return Route(url=url, headers=headers, is_direct=is_direct, connect_timeout=timeout)


async def drain(route: Route, call: Call) -> None:
    async with route.stream(call) as (_headers, pieces):
        async for _piece in pieces:
            pass


async def test_a_call_arrives_as_it_was_made_and_its_result_comes_back() -> None:
    async with serve(WireServer(is_gateway=False)) as rocklet:
        rocklet.always(READ_FILE, m.FileContent(content="ä", size=2))
        assert await to(rocklet).call(READ) == m.FileContent(content="ä", size=2)
    (seen,) = rocklet.seen
    assert (seen.request, seen.request_id) == (READ.request, "r1")
    assert seen.headers["Content-Type"] == "application/json"


async def test_through_a_gateway_the_path_names_the_sandbox() -> None:
    async with serve(WireServer(is_gateway=True)) as gateway:
        gateway.always(READ_FILE, m.FileContent(content="", size=0))
        await to(gateway, is_direct=False).call(READ)
    assert gateway.seen[0].http is not None
    assert gateway.seen[0].http.path == "/v1/sandboxes/s 1/files/read"


async def test_a_query_and_a_body_of_bytes_go_together() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    request = m.UploadRequest(path="/a b&c", mode=0o644)
    call = Call(operation=UPLOAD, request=request, request_id="r", body=body, body_size=6)
    async with serve(WireServer(is_gateway=False)) as rocklet:
        rocklet.always(UPLOAD, m.FileFacts(path="/a b&c", size=6, sha256="0" * 64))
        await to(rocklet).call(call)
    assert (rocklet.seen[0].request, rocklet.seen[0].body) == (request, b"onetwo")
    assert rocklet.seen[0].headers["Content-Length"] == "6"


async def test_a_download_comes_in_pieces_with_its_headers() -> None:
    async with serve(WireServer(is_gateway=False)) as rocklet:

        @rocklet.answer(DOWNLOAD)
        async def _(_seen: Seen) -> web.Response:
            return web.Response(body=b"bytes", headers={"X-Content-SHA256": "f" * 64})

        call = Call(operation=DOWNLOAD, request=m.DownloadRequest(path="/a"), request_id="r")
        async with to(rocklet).stream(call) as (headers, pieces):
            assert headers["X-Content-SHA256"] == "f" * 64
            assert b"".join([piece async for piece in pieces]) == b"bytes"


async def test_a_typed_error_is_raised_as_its_class() -> None:
    async with serve(WireServer(is_gateway=False)) as rocklet:
        rocklet.always(READ_FILE, FileNotFound("no /a", details={"field": "path"}))
        with pytest.raises(FileNotFound, match="no /a") as caught:
            await to(rocklet).call(READ)
    assert caught.value.details == {"field": "path", "request_id": "r1"}


async def test_nothing_listening_is_a_refusal_and_nothing_was_sent() -> None:
    with pytest.raises(NotSent) as caught:
        await to(refused_url()).call(READ)
    assert caught.value.is_refused


async def test_dropped_packets_are_noticed_within_the_connect_timeout() -> None:
    with black_hole() as url:
        begun = time.monotonic()
        with pytest.raises(NotSent) as caught:
            await to(url, timeout=0.05).call(READ)
    assert not caught.value.is_refused
    assert time.monotonic() - begun < 30  # the kernel tries for two minutes


async def test_a_connection_cut_after_sending_is_lost() -> None:
    async with serve(WireServer(is_gateway=False)) as rocklet:

        @rocklet.answer(READ_FILE)
        async def _(seen: Seen) -> m.FileContent:
            seen.cut()
            return m.FileContent(content="", size=0)

        with pytest.raises(Lost):
            await to(rocklet).call(READ)
    assert len(rocklet.seen) == 1


async def test_a_download_cut_half_way_is_lost() -> None:
    async with serve(WireServer(is_gateway=False)) as rocklet:

        @rocklet.answer(DOWNLOAD)
        async def _(seen: Seen) -> web.StreamResponse:
            assert seen.http is not None
            reply = web.StreamResponse(headers={"Content-Length": "100"})
            await reply.prepare(seen.http)
            await reply.write(b"x")
            seen.cut()
            return reply

        call = Call(operation=DOWNLOAD, request=m.DownloadRequest(path="/a"), request_id="r")
        with pytest.raises(Lost):
            await drain(to(rocklet), call)


@pytest.mark.parametrize("status", [200, 404, 502])
async def test_a_foreign_server_at_a_rocklets_address_means_that_the_address_is_stale(status: int) -> None:
    async with serve(WireServer(is_gateway=False)) as rocklet:

        @rocklet.answer(READ_FILE)
        async def _(_seen: Seen) -> web.Response:
            return web.Response(status=status, text="<html>")

        with pytest.raises(Stale):
            await to(rocklet).call(READ)


async def test_a_401_from_a_rocklet_means_stale_and_from_a_gateway_a_wrong_key() -> None:
    async with serve(WireServer(is_gateway=False, token="other")) as rocklet:
        with pytest.raises(Stale):
            await to(rocklet).call(READ)
    async with serve(WireServer(is_gateway=True, token="other")) as gateway:
        with pytest.raises(Unauthorized):
            await to(gateway, is_direct=False).call(READ)


@pytest.mark.parametrize(
    ("status", "error"), [(302, BadRequestRockError), (404, BadRequestRockError), (500, InternalError)]
)
async def test_an_address_that_is_no_gateway_says_so(status: int, error: type[Exception]) -> None:
    async with serve(WireServer(is_gateway=True)) as gateway:

        @gateway.answer(READ_FILE)
        async def _(_seen: Seen) -> web.Response:
            return web.Response(status=status, text="<html>who?</html>", headers={"Location": "/elsewhere"})

        with pytest.raises(error, match=r"who\?.*check base_url"):
            await to(gateway, is_direct=False).call(READ)
    assert len(gateway.seen) == 1


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_load_balancer_that_has_lost_its_gateway_is_a_lost_connection(status: int) -> None:
    async with serve(WireServer(is_gateway=True)) as gateway:

        @gateway.answer(READ_FILE)
        async def _(_seen: Seen) -> web.Response:
            return web.Response(status=status, text="bad gateway")

        with pytest.raises(Lost):
            await to(gateway, is_direct=False).call(READ)


@pytest.mark.parametrize(
    ("call", "patience"),
    [
        (Call(operation=RUN_IN_SESSION, request=m.RunRequest(command="x"), request_id="r"), None),
        (Call(operation=RUN_IN_SESSION, request=m.RunRequest(command="x", timeout=5), request_id="r"), 65.0),
        (Call(operation=EXECUTE, request=m.ExecuteRequest(command="x"), request_id="r"), None),
        (Call(operation=CREATE_SESSION, request=m.CreateSessionRequest(), request_id="r"), 70.0),
        (Call(operation=GET_SANDBOX, request=m.GetSandboxRequest(hold=20), request_id="r"), 80.0),
        (Call(operation=IS_ALIVE, request=m.Empty(), request_id="r"), 60.0),
    ],
    ids=lambda part: getattr(getattr(part, "operation", None), "name", str(part)),
)
def test_a_server_may_be_silent_as_long_as_the_request_allows(call: Call, patience: float | None) -> None:
    assert call.patience == patience


async def test_a_cancelled_call_closes_its_connection() -> None:
    async with serve(WireServer(is_gateway=False)) as rocklet:
        arrived, gone = asyncio.Event(), asyncio.Event()

        @rocklet.answer(READ_FILE)
        async def _(_seen: Seen) -> m.FileContent:
            arrived.set()
            try:
                await asyncio.Event().wait()
            finally:
                gone.set()
            raise AssertionError("waited for nothing, and it came")

        calling = asyncio.get_running_loop().create_task(to(rocklet).call(READ))
        await arrived.wait()
        calling.cancel()
        await asyncio.wait([calling])
        await asyncio.wait_for(gone.wait(), 5)


@pytest.mark.slow
async def test_a_certificate_is_checked_against_the_authority_that_ssl_cert_file_names(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on PATH: it makes the certificate")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    names = ",".join(f"IP:127.78.0.{n}" for n in range(1, 251))
    subject = ["-subj", "/CN=gateway", "-addext", f"subjectAltName={names}"]
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *subject]
    command += ["-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, timeout=120)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with serve(WireServer(is_gateway=True), tls=tls) as gateway:
        gateway.always(GET_SANDBOX, running("found"))
        assert "certificate verify failed" in await _ask_in_a_process(gateway.url, {})
        assert await _ask_in_a_process(gateway.url, {"SSL_CERT_FILE": str(certificate)}) == "found"


async def _ask_in_a_process(url: str, environ: dict[str, str]) -> str:
    """What a client of its own process says about a sandbox: OpenSSL reads the environment once."""
    program = (
        "import sys, rock\n"
        "sandbox = rock.SyncSandbox(rock.SandboxConfig(base_url=sys.argv[1], api_key='secret'))\n"
        "try: sandbox.attach('found'); print(sandbox.sandbox_id)\n"
        "except rock.RockException as error: print(error)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, url, env={**os.environ, **environ}, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return said.decode().strip()


def test_a_route_does_not_show_its_credentials() -> None:
    assert "secret" not in repr(to("http://gateway"))
