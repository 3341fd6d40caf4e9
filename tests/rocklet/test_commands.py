"""Commands that run by themselves, through the whole rocklet: real programs, real connections."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import select
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from rock.wire.commands import (
    CommandInput,
    CommandRequest,
    CommandSignal,
    CommandStatus,
    FollowCommandRequest,
    StartCommandRequest,
    WaitCommandRequest,
)
from rock.wire.errors import CommandFailed, CommandNotFound, IdInUse, InvalidRequest, LimitReached
from rock.wire.operations import (
    CLOSE_COMMAND,
    GET_CLOCKS,
    LIST_COMMANDS,
    SEND_INPUT,
    SIGNAL_COMMAND,
    START_COMMAND,
    WAIT_COMMAND,
)
from rocklet.commands import Commands
from rocklet.config import Settings
from rocklet.processes import Children
from rocklet.server import listen
from rocklet.surroundings import plan_surroundings
from tests.followers import COMPLAINED, SAID, TALK, Follower
from tests.rocklet.callers import TOKEN, Caller, RemoteCaller
from tests.rocklets import start_rocklet

pytestmark = pytest.mark.slow

PATIENCE = 60.0  # seconds in which what must happen happens, on whatever machine


async def start(caller: RemoteCaller, command: str | list[str], **options: Any) -> CommandStatus:  # noqa: ANN401 - the request's fields
    return await caller.call(START_COMMAND, StartCommandRequest(command=command, **options))


async def send(caller: RemoteCaller, command_id: str, data: bytes = b"", *, is_last: bool = False) -> CommandStatus:
    return await caller.call(SEND_INPUT, CommandInput(command_id=command_id, data=data, is_last=is_last))


async def wait_end(caller: RemoteCaller, command_id: str) -> CommandStatus:
    async with asyncio.timeout(PATIENCE):
        while True:
            told = await caller.call(WAIT_COMMAND, WaitCommandRequest(command_id=command_id, hold=2))
            if told.has_ended:
                return told


@contextlib.asynccontextmanager
async def rocklet(home: Path, **options: Any) -> AsyncIterator[Caller]:  # noqa: ANN401 - settings
    told = Settings(
        sandbox_id="s-test",
        token_sha256=hashlib.sha256(TOKEN.encode()).hexdigest(),
        host="127.0.0.1",
        home=str(home),
        **options,
    )
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        listen(told) as listening,
        aiohttp.ClientSession(f"http://127.0.0.1:{listening.port}", headers=headers) as http,
    ):
        yield Caller(http, listening)


async def test_what_it_prints_comes_as_it_is_printed_and_each_stream_apart(caller: Caller) -> None:
    begun = await start(caller, "echo out; echo err >&2; read line; echo $line; exit 3", keep_stdin=True)
    follower = Follower(caller.http, begun.command_id)
    async with asyncio.timeout(PATIENCE), follower.attached() as reply:
        while follower.cursor < 8:
            await follower.take(reply, at_least=1)
        assert (bytes(follower.stdout), bytes(follower.stderr)) == (b"out\n", b"err\n")
        await send(caller, begun.command_id, "wörd\n".encode())
        await follower.take(reply)
    assert follower.stdout == "out\nwörd\n".encode()
    assert follower.end is not None
    assert (follower.end.exit_code, follower.end.has_ended, follower.end.output_bytes) == (3, True, 14)


@examples(max_examples=12)
@given(st.lists(st.integers(min_value=1, max_value=6000), min_size=1, max_size=8))
def test_connections_killed_wherever_lose_and_double_no_byte(
    tmp_path_factory: pytest.TempPathFactory, kills: list[int]
) -> None:
    async def check() -> None:
        async with rocklet(tmp_path_factory.getbasetemp()) as caller, asyncio.timeout(PATIENCE):
            follower = Follower(caller.http, (await start(caller, TALK)).command_id)
            for after in kills:
                await follower.follow_killed(after)
            await follower.follow()
            assert follower.end is not None
            assert (bytes(follower.stdout), bytes(follower.stderr)) == (SAID, COMPLAINED)
            assert follower.end.exit_code == 7

    asyncio.run(check())


async def test_many_follow_the_same_command_and_one_may_come_when_it_is_over(caller: Caller) -> None:
    begun = await start(caller, TALK)
    followers = [Follower(caller.http, begun.command_id) for _ in range(5)]
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(each.follow() for each in followers))
        late = await Follower(caller.http, begun.command_id).follow(follow=False)
    assert {bytes(each.stdout) for each in (*followers, late)} == {SAID}


async def test_what_there_is_by_now_can_be_had_without_waiting(caller: Caller) -> None:
    begun = await start(caller, "echo one; read never", keep_stdin=True)
    follower = Follower(caller.http, begun.command_id)
    async with asyncio.timeout(PATIENCE):
        while not follower.stdout:
            await follower.follow(follow=False)
    assert bytes(follower.stdout) == b"one\n"


async def test_the_sender_of_nothing_says_that_it_is_there(caller: Caller) -> None:
    begun = await start(caller, "read never", keep_stdin=True)
    follower = Follower(caller.http, begun.command_id, heartbeat=0.01)
    async with asyncio.timeout(PATIENCE), follower.attached() as reply:
        while follower.heartbeats < 3:
            await follower.take(reply, at_least=1)


async def test_input_of_any_size_arrives_and_its_end_too(caller: Caller) -> None:
    begun = await start(caller, ["sha256sum"], keep_stdin=True, stdin="ahead ")
    data = os.urandom(2**20)
    for piece in (data, data):
        await send(caller, begun.command_id, piece)
    await send(caller, begun.command_id, is_last=True)
    async with asyncio.timeout(PATIENCE):
        follower = await Follower(caller.http, begun.command_id).follow()
    assert follower.stdout.split()[0].decode() == hashlib.sha256(b"ahead " + data + data).hexdigest()
    assert (await send(caller, begun.command_id, b"too late")).has_ended


async def test_input_is_sent_once_however_often_the_request_is(caller: Caller) -> None:
    begun = await start(caller, ["cat"], keep_stdin=True)
    request = CommandInput(command_id=begun.command_id, data=b"once\n")
    for _ in range(2):
        await caller.call(SEND_INPUT, request, request_id="the-same")
    await send(caller, begun.command_id, is_last=True)
    async with asyncio.timeout(PATIENCE):
        assert (await Follower(caller.http, begun.command_id).follow()).stdout == b"once\n"


async def test_a_start_that_is_sent_again_starts_nothing_new(caller: Caller) -> None:
    request = StartCommandRequest(command="sleep 60", background=True)
    first = await caller.call(START_COMMAND, request, request_id="start")
    assert (await caller.call(START_COMMAND, request, request_id="start")).command_id == first.command_id
    assert len((await caller.call(LIST_COMMANDS)).commands) == 1


async def test_input_that_is_not_taken_does_not_hold_back_the_end(caller: Caller) -> None:
    begun = await start(caller, "read line; exit 5", keep_stdin=True, background=True)
    async with asyncio.timeout(PATIENCE):
        await send(caller, begun.command_id, b"x" * 500_000 + b"\n" + b"y" * 500_000)
    assert (await wait_end(caller, begun.command_id)).exit_code == 5


async def test_a_closed_stdin_says_so(caller: Caller) -> None:
    begun = await start(caller, "sleep 60")
    with pytest.raises(InvalidRequest, match="keep_stdin"):
        await send(caller, begun.command_id, b"x")


async def test_a_signal_reaches_the_command_and_what_it_has_started(caller: Caller) -> None:
    script = "trap 'echo caught; kill $!; exit 9' USR1; sleep 300 & echo ready; wait"
    begun = await start(caller, script)
    follower = Follower(caller.http, begun.command_id)
    async with asyncio.timeout(PATIENCE), follower.attached() as reply:
        while follower.stdout != b"ready\n":
            await follower.take(reply, at_least=1)
        await caller.call(SIGNAL_COMMAND, CommandSignal(command_id=begun.command_id, signal=signal.SIGUSR1))
        await follower.take(reply)
    assert follower.stdout == b"ready\ncaught\n"
    assert follower.end is not None
    assert follower.end.exit_code == 9


async def test_limits_of_time_and_of_silence_end_it(caller: Caller) -> None:
    silent = await start(caller, "sleep 300", silence_timeout=0.2, background=True)
    told = await wait_end(caller, silent.command_id)
    assert (told.timed_out, told.exit_code) == (True, None)
    assert told.failure_reason == "printed nothing for 0.2 s; its process group was killed"
    late = await start(caller, "while :; do echo on; done", timeout=0.2, silence_timeout=60, background=True)
    assert (await wait_end(caller, late.command_id)).failure_reason.startswith("timed out after 0.2 s")


async def test_the_last_reader_of_a_foreground_command_takes_it_along_and_of_a_background_command_does_not(
    settings: Settings,
) -> None:
    surroundings = plan_surroundings(settings, user=None, cwd=None, env={})
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        children = Children(adopt=False)
        commands = Commands(tasks, children, limit=9, log_bytes=2**20, grace=0.1)
        readers = []
        for command_id in ("background", "foreground"):
            request = StartCommandRequest(
                command=["sleep", "300"], command_id=command_id, background=command_id == "background"
            )
            commands.start(request, surroundings)
            readers += [commands.follow(FollowCommandRequest(command_id=command_id)) for _ in range(2)]
        readers.pop().close()
        assert not (await commands.wait("foreground", 0.3, never)).has_ended, "one reader is there"
        pidfd = os.pidfd_open(commands.list().commands[1].pid)
        for reader in readers:
            reader.close()
        await asyncio.to_thread(select.select, [pidfd], [], [], PATIENCE)  # to wait for the command is to attend to it
        os.close(pidfd)
        assert (await commands.wait("foreground", PATIENCE, never)).canceled
        assert not (await commands.wait("background", 0.3, never)).has_ended
        await commands.close()
        await children.end_all()


async def test_who_follows_holds_the_idle_clock_and_what_is_unattended_does_not(caller: Caller) -> None:
    begun = await start(caller, "echo on; sleep 300", background=True)
    assert (await caller.call(GET_CLOCKS)).actions_in_flight == 0
    follower = Follower(caller.http, begun.command_id)
    async with follower.attached() as reply:
        await follower.take(reply, at_least=1)
        assert (await caller.call(GET_CLOCKS)).actions_in_flight == 1


async def test_closing_ends_it_and_forgets_it(caller: Caller) -> None:
    begun = await start(caller, "sleep 300", background=True, command_id="mine")
    with pytest.raises(IdInUse, match="mine"):
        await start(caller, "true", command_id="mine")
    closed = await caller.call(CLOSE_COMMAND, CommandRequest(command_id="mine"))
    assert (closed.has_ended, closed.canceled, closed.pid) == (True, True, begun.pid)
    with pytest.raises(CommandNotFound, match="mine"):
        await wait_end(caller, "mine")


async def test_what_cannot_start_leaves_nothing_behind(caller: Caller) -> None:
    with pytest.raises(CommandFailed, match="nonono"):
        await start(caller, ["nonono"])
    assert not (await caller.call(LIST_COMMANDS)).commands


async def test_so_many_commands_and_no_more_but_ended_ones_make_room(tmp_path: Path) -> None:
    async with rocklet(tmp_path, command_limit=2) as caller:
        over = await start(caller, "true", background=True)
        await wait_end(caller, over.command_id)
        await start(caller, "sleep 300", background=True)
        await start(caller, "sleep 300", background=True)
        with pytest.raises(CommandNotFound):
            await wait_end(caller, over.command_id)
        with pytest.raises(LimitReached, match="ROCKLET_COMMAND_LIMIT"):
            await start(caller, "true")


async def test_logs_have_so_much_disk_together(tmp_path: Path) -> None:
    async with rocklet(tmp_path, command_log_bytes=50_000) as caller:
        first = await start(caller, ["head", "-c", "40000", "/dev/zero"], background=True)
        await wait_end(caller, first.command_id)
        second = await start(caller, ["head", "-c", "90000", "/dev/zero"], background=True)
        told = await wait_end(caller, second.command_id)
        assert told.exit_code == 0
        assert (told.output_bytes + told.cut_bytes, told.output_bytes < 50_000) == (90_000, True)
        assert "the disk that they may use" in told.failure_reason
        with pytest.raises(CommandNotFound):
            await wait_end(caller, first.command_id)


async def test_what_is_too_much_for_its_log_is_counted_and_it_goes_on(caller: Caller) -> None:
    begun = await start(caller, "head -c 100000 /dev/zero; exit 4", max_output_bytes=1024, background=True)
    told = await wait_end(caller, begun.command_id)
    assert (told.output_bytes, told.cut_bytes, told.exit_code) == (1024, 98_976, 4)


async def test_a_slow_reader_costs_no_memory(tmp_path: Path) -> None:
    size = 64 * 2**20
    async with start_rocklet(home=tmp_path) as (url, token, process):
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(url, headers=headers) as http, asyncio.timeout(PATIENCE):
            caller = RemoteCaller(http)
            warm = await start(caller, ["head", "-c", "1000000", "/dev/zero"], background=True)
            await Follower(http, warm.command_id).follow()
            before = _resident_bytes(process.pid)
            begun = await start(caller, ["head", "-c", str(size), "/dev/zero"], background=True)
            follower = Follower(http, begun.command_id)
            async with follower.attached() as reply:
                assert (await wait_end(caller, begun.command_id)).output_bytes == size
                # Not a byte was read here: the sockets are full, and the rest is on the disk.
                assert _resident_bytes(process.pid) - before < size // 8
                await follower.take(reply)
        assert len(follower.stdout) == size


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
