"""The bundled rocklet in images of every kind, mounted and confined as in production."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import tarfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any

import aiohttp
import pytest

from rock.wire.errors import InvalidRequest
from rock.wire.messages import CreateSessionRequest, ReadFileRequest, Session, WriteFileRequest
from rock.wire.operations import CREATE_SESSION, READ_FILE, WRITE_FILE
from rock.wire.spec import SandboxSpec
from rock_nomad.bundle import BUNDLE_MOUNT
from rock_nomad.isolation import CONTAINER_PORT
from tests.bundles import need_bundle
from tests.engine import IMAGE_PATH, Engine
from tests.rock_nomad.samples import render
from tests.rocklet.callers import TOKEN, RemoteCaller
from tests.rocklets import rocklet_environment
from tests.roots import ROOTS

pytestmark = pytest.mark.slow

WITHOUT_BASH = {"debian-without-bash", "busybox", "musl"}
WITH_SHELL = [name for name in ROOTS if name != "shell-less"]
_START_TIMEOUT = 120.0  # seconds, on a machine that does much else


@pytest.fixture(scope="module")
def images(engine: Engine) -> Any:  # noqa: ANN401 - a cached function
    """The image of a root file system by its name, made when it is first asked for."""
    return cache(lambda name: ROOTS[name](engine))


@contextlib.contextmanager
def _container(engine: Engine, image: str, user: str, **limits: Any) -> Iterator[str]:  # noqa: ANN401 - Docker's
    """The id of a container that starts a rocklet."""
    task = render(SandboxSpec(isolation="runc"))["TaskGroups"][0]["Tasks"][0]
    told = task["Config"]
    confined = {name: told[name] for name in ("init", "pids_limit", "cap_drop", "cap_add", "security_opt")}
    client = engine.client
    container: str = client.create_container(
        image,
        command=["--host", "0.0.0.0", "--port", str(CONTAINER_PORT)],
        entrypoint=told["entrypoint"],
        environment={**task["Env"], **rocklet_environment(env={"GREETING": "hello"}), "PATH": IMAGE_PATH},
        user=user,
        ports=[CONTAINER_PORT],
        labels=engine.labels,
        host_config=client.create_host_config(
            binds=[f"{need_bundle()}:{BUNDLE_MOUNT}:ro"],
            port_bindings={CONTAINER_PORT: ("127.0.0.1", None)},
            **{**confined, **limits},
        ),
    )["Id"]
    try:
        client.start(container)
        yield container
    finally:
        client.remove_container(container, force=True, v=True)


async def _wait_until_it_listens(container: str) -> None:
    # By the command: the SDK's stream of a log cannot be left before its end without a leak.
    log = await asyncio.create_subprocess_exec("docker", "logs", "--follow", container, stderr=PIPE, stdout=DEVNULL)
    assert log.stderr is not None
    said = b""
    try:
        async with asyncio.timeout(_START_TIMEOUT):
            while b"listens on" not in said:
                line = await log.stderr.readline()
                said += line
                assert line, f"the rocklet has ended: {said.decode()}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            log.kill()
        await log.communicate()


@contextlib.asynccontextmanager
async def _enter(engine: Engine, image: str, user: str = "0", **limits: Any) -> AsyncIterator[RemoteCaller]:  # noqa: ANN401
    """Somebody who calls the rocklet in a container of an image."""
    with _container(engine, image, user, **limits) as container:
        await _wait_until_it_listens(container)
        [bound] = engine.client.port(container, CONTAINER_PORT)
        url = f"http://127.0.0.1:{bound['HostPort']}"
        async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {TOKEN}"}) as http:
            yield RemoteCaller(http)


async def _open(caller: RemoteCaller, **options: Any) -> Session:  # noqa: ANN401 - the request's fields
    return await caller.call(CREATE_SESSION, CreateSessionRequest(**options))


@pytest.mark.parametrize("user", ["0", "1234"])
@pytest.mark.parametrize("root", WITH_SHELL)
async def test_it_serves_sessions_commands_and_files(engine: Engine, images: Any, root: str, user: str) -> None:  # noqa: ANN401
    async with _enter(engine, images(root), user) as caller:
        session = await _open(caller)
        assert session.shell == ("sh" if root in WITHOUT_BASH else "bash")
        assert bool(session.warnings) == (session.shell == "sh")
        assert (await caller.run('cd /tmp; export X=1; f() { echo "f$1"; }; (exit 7)')).exit_code == 7
        assert (await caller.run('echo "$? $PWD $X $GREETING"; f 2; id -u')).output == f"7 /tmp 1 hello\nf2\n{user}\n"
        ran = await caller.execute(["sh", "-c", "echo out; echo err >&2; exit 3"])
        assert (ran.stdout, ran.stderr, ran.exit_code) == ("out\n", "err\n", 3)
        await caller.call(WRITE_FILE, WriteFileRequest(path="/tmp/a/b.txt", content="grüße\n"))
        assert (await caller.run("cat /tmp/a/b.txt")).output == "grüße\n"
        assert (await caller.call(READ_FILE, ReadFileRequest(path="/tmp/a/b.txt"))).content == "grüße\n"


@pytest.mark.parametrize("root", WITH_SHELL)
async def test_whatever_befalls_a_command_the_session_goes_on(engine: Engine, images: Any, root: str) -> None:  # noqa: ANN401
    async with _enter(engine, images(root)) as caller:
        await _open(caller)
        assert (await caller.run("if")).exit_code == 2
        for command in ("echo begun; sleep 300", "while :; do :; done", "cat; echo unreached"):
            assert (await caller.run(command, timeout=0.5)).timed_out
        assert (await caller.run("readonly R=1; R=2; :")).exit_code in (1, 2)
        assert (await caller.run("sleep 300 & echo $?")).output.endswith("0\n")
        died = await caller.run("exit 3")
        assert (died.exit_code, died.shell_restarted) == (3, True)
        assert (await caller.run("echo alive; nohup sleep 0 </dev/null >/dev/null 2>&1 & disown")).exit_code == 0


@pytest.mark.parametrize("root", WITH_SHELL)
async def test_commands_see_nothing_of_it(engine: Engine, images: Any, root: str) -> None:  # noqa: ANN401
    async with _enter(engine, images(root)) as caller:
        await _open(caller)
        for seen in (
            (await caller.run("env; cat /proc/self/environ")).output,
            (await caller.execute("env; cat /proc/self/environ; ls -l /proc/$$/fd")).stdout,
        ):
            assert {"GREETING=hello", f"PATH={IMAGE_PATH}"} <= set(seen.splitlines())
            assert not re.search(r"rocklet|PYTHON|LD_|LC_|socket:", seen, re.IGNORECASE)


async def test_a_musl_program_runs_beside_it(engine: Engine, images: Any) -> None:  # noqa: ANN401
    async with _enter(engine, images("musl")) as caller:
        assert (await caller.execute(["hello"])).stdout == "hello\n"


@pytest.mark.parametrize("user", ["0", "1234"])
async def test_without_a_shell_programs_run_and_a_session_says_so(engine: Engine, images: Any, user: str) -> None:  # noqa: ANN401
    async with _enter(engine, images("shell-less"), user, read_only=True) as caller:
        ran = await caller.execute(["/app/busybox", "id", "-u"])
        assert (ran.stdout, ran.exit_code) == (f"{user}\n", 0)
        with pytest.raises(InvalidRequest, match=r"this image has no shell.*use execute"):
            await _open(caller)
        with pytest.raises(InvalidRequest, match=r"this image has no shell.*use execute"):
            await caller.execute("echo hi")
        assert (await caller.execute(["/app/busybox", "echo", "alive"])).stdout == "alive\n"
        assert "localhost" in (await caller.call(READ_FILE, ReadFileRequest(path="/etc/hosts"))).content


async def test_a_user_of_the_image_is_found_by_name(engine: Engine, images: Any) -> None:  # noqa: ANN401
    async with _enter(engine, images("debian-trixie")) as caller:
        await _open(caller, user="daemon")
        assert (await caller.run("id -un; echo $HOME")).output == "daemon\n/usr/sbin\n"


@pytest.fixture
def hostile_image(engine: Engine, images: Any) -> Iterator[str]:  # noqa: ANN401
    """A newer Debian whose every program is to load a library of its own, and an OpenSSL provider that is not there."""
    text = b"openssl_conf = a\n[a]\nproviders = b\n[b]\nc = d\n[d]\nmodule = /nowhere.so\nactivate = 1\n"
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            member = tarfile.TarInfo("usr/lib/ssl/openssl.cnf")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        client = engine.client
        container = client.create_container(images("debian-trixie"), ["true"], labels=engine.labels)["Id"]
        client.put_archive(container, "/", file.getvalue())
    preload = "ENV LD_PRELOAD=/lib/x86_64-linux-gnu/libcrypto.so.3 LANG=de_DE.ISO-8859-1"
    image: str = client.commit(container, changes=[preload])["Id"]
    client.remove_container(container)
    yield image
    client.remove_image(image, force=True)  # before the one that it was made of


async def test_an_image_that_has_every_program_load_its_own_does_not_disturb_it(
    engine: Engine, hostile_image: str
) -> None:
    async with _enter(engine, hostile_image) as caller:
        await _open(caller)
        assert (await caller.run("echo grüße; env | grep -c PRELOAD")).output == "grüße\n0\n"
