"""The client against a real gateway, a cluster and rocklets, in the ways that trainers call it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import uuid
import warnings
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import cloudpickle
import msgspec
import pytest

from rock import _nohup
from rock._credentials import write_credentials
from rock._group import SandboxGroup
from rock._reach import HOSTS
from rock._requests import Command, CreateBashSessionRequest
from rock._sandbox import Sandbox
from rock._sandbox_config import SandboxConfig, SandboxGroupConfig
from rock._sync import SyncSandbox
from rock.errors import SandboxDied, SandboxEnded, SandboxNotFound, SandboxUnreachable, StartFailed, Unauthorized
from rock.wire.messages import Empty
from rock.wire.operations import GET_CLOCKS, RESOLVE_ROCKLET
from rock.wire.reasons import Reason
from tests.cluster import Cluster
from tests.gateways import Gateway, start_gateway_process
from tests.processes import is_running
from tests.rock.proxies import run_proxy, run_relay
from tests.rock.servers import in_thread

pytestmark = pytest.mark.slow  # real processes throughout


@pytest.fixture(scope="module")
def gateway(cluster: Cluster) -> Iterator[Gateway]:
    """A gateway in a process of its own, over each kind of cluster."""
    with in_thread(start_gateway_process(cluster)) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def pointed_to(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, bare_environment: None) -> None:
    """The environment points to the gateway, as a trainer's does."""
    monkeypatch.setenv("ROCK_BASE_URL", gateway.url)
    monkeypatch.setenv("ROCK_API_KEY", gateway.key)


def small(**settings: object) -> SandboxConfig:
    return SandboxConfig.model_validate({"memory": "64m", "cpus": 0.1, **settings})


@pytest.fixture
def started() -> Iterator[Sandbox]:
    """A sandbox with a session, started in a loop that has ended since."""
    sandbox = Sandbox(small())
    asyncio.run(sandbox.start())
    asyncio.run(sandbox.create_session(CreateBashSessionRequest(session="work")))
    yield sandbox
    asyncio.run(sandbox.stop())


def run(sandbox: Sandbox, cmd: str) -> str:
    """One call in a loop of its own."""
    return asyncio.run(sandbox.arun(cmd=cmd, session="work")).output


@pytest.mark.parametrize("direct", ["auto", "never", "always"])
async def test_every_action_works_whichever_way_it_takes(direct: str, tmp_path: Path) -> None:
    async with Sandbox(small(direct=direct)) as sandbox:
        assert (sandbox.host_ip, bool(sandbox.host_name)) == ("127.0.0.1", True)
        await sandbox.create_session(CreateBashSessionRequest(session="work"))
        assert (await sandbox.arun("echo hi", session="work")).output == "hi"
        assert (await sandbox.execute(Command(command=["echo", "x"]))).stdout == "x\n"
        content = bytes(range(256)) * 4096
        (tmp_path / "up").write_bytes(content)
        assert (await sandbox.upload_by_path(tmp_path / "up", f"{tmp_path}/in/sandbox")).success
        assert (await sandbox.download(f"{tmp_path}/in/sandbox", tmp_path / "down")).success
        assert (tmp_path / "down").read_bytes() == content
        assert await sandbox.is_alive()
    with pytest.raises(SandboxEnded) as caught:
        await sandbox.get_status()
    assert caught.value.reason is Reason.USER


def test_each_call_may_run_in_a_loop_of_its_own_and_leaves_nothing_open(started: Sandbox) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [run(started, f"echo {n}") for n in range(20)] == [str(n) for n in range(20)]
        gc.collect()
    assert [str(each.message) for each in caught] == []
    assert HOSTS.verdict("127.0.0.1") is True


def test_eight_threads_may_call_at_once_each_in_loops_of_its_own(started: Sandbox) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        outputs = threads.map(lambda n: [run(started, f"echo {n}-{i}") for i in range(5)], range(8))
        assert list(outputs) == [[f"{n}-{i}" for i in range(5)] for n in range(8)]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_children_go_on_with_a_used_sandbox(started: Sandbox) -> None:
    run(started, "x=1")
    children = []
    for n in range(3):
        child = os.fork()
        if child == 0:
            os._exit(0 if run(started, f"echo {n}") == str(n) else 1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert run(started, "echo $x") == "1"


def test_spawned_workers_take_a_used_sandbox_by_pickle(started: Sandbox) -> None:
    run(started, "x=1")
    workers = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(3, mp_context=workers) as pool:
        assert list(pool.map(run, [started] * 3, ["echo a", "echo b", "echo c"])) == ["a", "b", "c"]
    twin: Sandbox = pickle.loads(pickle.dumps(started))
    assert run(twin, "echo $x") == "1"


def test_a_thread_with_a_long_lived_loop_and_one_with_fresh_loops_get_on(started: Sandbox) -> None:
    outputs: list[str] = []

    async def many() -> None:
        for n in range(10):
            outputs.append((await started.arun(f"echo {n}", session="work")).output)

    thread = threading.Thread(target=asyncio.run, args=(many(),))
    thread.start()
    assert [run(started, "echo y") for _ in range(10)] == ["y"] * 10
    thread.join()
    assert outputs == [str(n) for n in range(10)]


@pytest.mark.parametrize("direct", ["always", "never"])
async def test_a_cancelled_call_frees_its_session(direct: str) -> None:
    async with Sandbox(small(direct=direct)) as sandbox:
        await sandbox.create_session(CreateBashSessionRequest(session="work"))
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(sandbox.arun("sleep 3600", session="work"), 0.2)
            assert (await sandbox.arun("echo next", session="work")).output == "next"


def test_a_loop_that_is_interrupted_ends_its_command(started: Sandbox, tmp_path: Path) -> None:
    mark = f"sleep 3600.{os.getpid()}"
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    program = f"""
import asyncio, os, pickle, signal, sys, threading
sandbox = pickle.loads(sys.stdin.buffer.read())
def interrupt():
    open({str(begun)!r}).close()  # returns once the command has opened it, too
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
asyncio.run(sandbox.arun({f": > {begun}; {mark}"!r}, session="work"))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(started), capture_output=True, timeout=60, check=False
    )
    assert b"KeyboardInterrupt" in ended.stderr
    assert run(started, "echo next") == "next"
    assert not is_running(mark)


async def attach_to_running(sandbox_id: str) -> None:
    sandbox = Sandbox(small())
    await sandbox.attach(sandbox_id)
    await sandbox.get_status()


@pytest.mark.parametrize("direct", ["always", "never"])
async def test_a_background_command_tells_its_own_end_whichever_way_it_is_asked(
    direct: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_nohup, "_HOLD", 0.3)  # so that one wait takes several answers
    async with Sandbox(small(direct=direct)) as sandbox:
        commands = [f"echo {n}; sleep 0.8; exit {n}" for n in range(8)]
        observations = await asyncio.gather(*(sandbox.arun(command, mode="nohup") for command in commands))
        assert [(each.output, each.exit_code) for each in observations] == [(str(n), n) for n in range(8)]
        clocks = await sandbox._rocklet.call(GET_CLOCKS, Empty())
        assert clocks.sessions == 0


@pytest.mark.parametrize("direct", ["always", "never"])
async def test_connections_that_are_cut_while_a_background_command_runs_are_no_end_of_it(
    gateway: Gateway, direct: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_nohup, "_HOLD", 0.1)
    async with run_relay(gateway.url) as to_gateway, Sandbox(small(base_url=to_gateway.url, direct=direct)) as sandbox:
        endpoint = await sandbox._gateway.call(RESOLVE_ROCKLET, Empty(), sandbox_id=sandbox.sandbox_id or "")
        async with run_relay(endpoint.url) as to_rocklet:
            await sandbox.create_session(CreateBashSessionRequest(session="work"))
            pid, _ = await sandbox.start_nohup_process("sleep 2; exit 3", "/dev/null", "work")
            sandbox._rocklet.learn(msgspec.structs.replace(endpoint, url=to_rocklet.url))
            relay = to_rocklet if direct == "always" else to_gateway
            waiting = asyncio.ensure_future(_nohup.wait_for_process(sandbox._rocklet, pid or 0, 30))
            while not waiting.done():
                relay.armed = random.random() < 0.5
                await asyncio.wait([waiting], timeout=0.1)
            relay.armed = False
            end, _ = await waiting
    assert end is not None
    assert end.exit_code == 3
    assert relay.lost > 0


async def test_a_sandbox_that_ends_under_a_background_command_raises_its_end() -> None:
    async with Sandbox(small()) as sandbox:
        running = asyncio.ensure_future(sandbox.arun("sleep 3600", mode="nohup"))
        await asyncio.sleep(0.5)
        await sandbox.stop()
        with pytest.raises((SandboxEnded, SandboxUnreachable)):
            await asyncio.wait_for(running, 120)


async def test_fifty_cancelled_calls_in_a_row_leave_their_session_and_background_commands_alone() -> None:
    async with Sandbox(small()) as sandbox:
        await sandbox.create_session(CreateBashSessionRequest(session="work"))
        background = asyncio.ensure_future(sandbox.arun("sleep 3; echo lived", session="work", mode="nohup"))
        for n in range(50):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(sandbox.arun("sleep 3600", session="work"), 0.05)
            assert (await sandbox.arun(f"echo {n}", session="work")).output == str(n)
        assert (await background).output == "lived"


async def test_a_cancelled_start_leaves_no_sandbox() -> None:
    ids = [uuid.uuid4().hex for _ in range(4)]
    for sandbox_id, patience in zip(ids, (0.001, 0.01, 0.1, 0.3), strict=True):
        starting = Sandbox(small(sandbox_id=sandbox_id)).start()
        try:
            await asyncio.wait_for(starting, patience)
        except TimeoutError:
            pass
        else:
            continue  # it was quicker than that, and so was not cancelled
        with pytest.raises((SandboxEnded, SandboxNotFound)):
            await attach_to_running(sandbox_id)


async def test_a_sandbox_that_no_node_can_hold_says_so_at_once() -> None:
    with pytest.raises((SandboxEnded, StartFailed)) as caught:
        await Sandbox(small(memory="900t")).start()
    assert caught.value.reason is Reason.IMPOSSIBLE


@pytest.mark.parametrize("direct", ["always", "never"])
async def test_a_command_that_kills_its_rocklet_has_ended_its_sandbox_and_is_told_so(
    direct: Literal["always", "never"],
) -> None:
    sandbox = Sandbox(small(direct=direct))
    await sandbox.start()
    await sandbox.create_session(CreateBashSessionRequest(session="work"))
    pid = int((await sandbox.arun("echo $PPID", session="work")).output)
    with pytest.raises(SandboxDied) as caught:
        await sandbox.arun(f"kill -9 {pid}; sleep 3600", session="work")
    assert (caught.value.reason, caught.value.details["executed"]) == (Reason.EXITED, "unknown")
    await sandbox.stop()


@pytest.mark.parametrize("direct", ["always", "never"])
async def test_a_command_whose_answer_is_lost_runs_once(
    gateway: Gateway, direct: Literal["always", "never"], tmp_path: Path
) -> None:
    async with run_relay(gateway.url) as to_gateway, Sandbox(small(base_url=to_gateway.url, direct=direct)) as sandbox:
        endpoint = await sandbox._gateway.call(RESOLVE_ROCKLET, Empty(), sandbox_id=sandbox.sandbox_id or "")
        async with run_relay(endpoint.url) as to_rocklet:
            sandbox._rocklet.learn(msgspec.structs.replace(endpoint, url=to_rocklet.url))
            relay = to_rocklet if direct == "always" else to_gateway
            relay.armed = True
            ran = await sandbox.execute(Command(command=f"echo run >> {tmp_path}/counter; wc -l < {tmp_path}/counter"))
    assert relay.lost == 1
    assert ran.stdout == "1\n"
    assert (tmp_path / "counter").read_text() == "run\n"


async def test_groups_configs_and_answers_pickle_and_copy_after_use() -> None:
    group = SandboxGroup(SandboxGroupConfig.model_validate({"memory": "64m", "cpus": 0.1, "size": 2}))
    await group.start()
    try:
        first = group.sandbox_list[0]
        answers = (await first.arun("echo hi"), await first.get_status(), await first.is_alive())
        used: list[Any] = [group, group.config, *answers]
        for copies in (pickle.loads(pickle.dumps(used)), cloudpickle.loads(cloudpickle.dumps(used)), deepcopy(used)):
            twin, *others = copies
            assert others == used[1:]
            outputs = [(await sandbox.arun("echo hi")).output for sandbox in twin.sandbox_list]
            assert outputs == ["hi", "hi"]
            assert twin.sandbox_list[0].fs.sandbox is twin.sandbox_list[0]
    finally:
        await group.stop()


@pytest.fixture
def used() -> Iterator[list[Any]]:
    """A group, its config and answers of its members, all in use before."""
    group = SandboxGroup(SandboxGroupConfig.model_validate({"memory": "64m", "cpus": 0.1, "size": 3}))
    asyncio.run(group.start())
    first = group.sandbox_list[0]
    answers = [asyncio.run(call) for call in (first.arun("echo hi"), first.get_status(), first.is_alive())]
    yield [group, group.config, *answers]
    asyncio.run(group.stop())


def use_in_worker(used: list[Any], member: int) -> list[Any]:
    """What a worker makes of what it was given: it runs a command, asks, and starts one more by the same config."""
    group, config, *answers = used
    ran = asyncio.run(group.sandbox_list[member].arun(f"echo {member}"))

    async def start_one_more() -> bool:
        async with Sandbox(config) as another:
            return (await another.is_alive()).is_alive

    return [ran.output, asyncio.run(start_one_more()), *answers]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_three_workers_at_once_take_groups_configs_and_answers_after_use(used: list[Any], method: str) -> None:
    workers = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(3, mp_context=workers) as pool:
        brought = list(pool.map(use_in_worker, [used] * 3, range(3)))
    assert brought == [[str(member), True, *used[2:]] for member in range(3)]


def test_a_program_of_many_loops_ends_without_a_warning(gateway: Gateway, tmp_path: Path) -> None:
    program = """
import asyncio
from rock.sdk.sandbox.client import Sandbox
from rock.sdk.sandbox.config import SandboxConfig
sandbox = Sandbox(SandboxConfig(memory="64m", cpus=0.1))
asyncio.run(sandbox.start())
for mode in ("normal", "nohup", "normal"):
    print(asyncio.run(sandbox.arun("echo hi", mode=mode)).output)
asyncio.run(sandbox.upload_by_path(__file__, "~/program"))
asyncio.run(sandbox.stop())
"""
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, "-X", "dev", "-W", "always", str(tmp_path / "program.py")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    said = [line for line in ran.stderr.splitlines() if not line.startswith("Executing <")]  # so: for over 0.1 s
    assert (ran.stdout, said) == ("hi\n" * 3, [])


async def test_a_group_starts_and_stops() -> None:
    group = SandboxGroup(SandboxGroupConfig.model_validate({"memory": "64m", "cpus": 0.1, "size": 4}))
    await group.start()
    try:
        outputs = await asyncio.gather(*(sandbox.arun("echo hi") for sandbox in group.sandbox_list))
        assert [each.output for each in outputs] == ["hi"] * 4
    finally:
        await group.stop()


def test_the_synchronous_twin_works_without_a_loop() -> None:
    with SyncSandbox(small()) as sandbox:
        assert sandbox.run("echo hi").output == "hi"


async def test_a_wrong_key_is_unauthorized() -> None:
    with pytest.raises(Unauthorized):
        await Sandbox(small(api_key="wrong")).start()


async def test_the_credentials_file_leads_there(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROCK_BASE_URL")
    monkeypatch.delenv("ROCK_API_KEY")
    write_credentials(tmp_path / "credentials.json", gateway.url, gateway.key)
    async with Sandbox(small()) as sandbox:
        assert await sandbox.is_alive()
    with pytest.raises(Unauthorized):
        await Sandbox(small(base_url=gateway.url.replace("127.0.0.1", "localhost"))).start()


async def test_the_key_may_stand_in_the_address(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCK_BASE_URL", gateway.url.replace("//", f"//x:{gateway.key}@"))
    monkeypatch.delenv("ROCK_API_KEY")
    async with Sandbox(small()) as sandbox:
        assert await sandbox.is_alive()


async def test_a_proxy_is_used_towards_the_gateway_and_not_on_the_direct_path(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = gateway.url.removeprefix("http://")
    async with run_proxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with Sandbox(small(direct="always")) as sandbox:
            asked = len(proxy.targets)
            assert (await sandbox.arun("echo hi")).output == "hi"
            assert len(proxy.targets) == asked
        assert set(proxy.targets) == {authority}
        monkeypatch.setenv("NO_PROXY", authority)
        asked = len(proxy.targets)
        await sandbox.get_status(include_all_states=True)
        assert len(proxy.targets) == asked


def test_commands_on_the_direct_path_outlive_their_gateway(cluster: Cluster) -> None:
    with in_thread(start_gateway_process(cluster)) as mortal:
        sandbox = Sandbox(small(base_url=mortal.url, api_key=mortal.key))
        asyncio.run(sandbox.start())
        asyncio.run(sandbox.create_session(CreateBashSessionRequest(session="work")))
        run(sandbox, "true")
        assert mortal.process is not None
        os.kill(mortal.process.pid, signal.SIGKILL)
        assert run(sandbox, "sleep 0.2; echo still here") == "still here"
