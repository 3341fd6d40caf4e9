"""Commands of a session that run by themselves, through the whole rocklet."""

from __future__ import annotations

import asyncio
import signal

import pytest

from rock.wire.commands import (
    CommandInput,
    CommandRequest,
    CommandSignal,
    CommandStatus,
    StartInSessionRequest,
    WaitCommandRequest,
)
from rock.wire.errors import CommandFailed, SessionNotFound
from rock.wire.messages import SessionRequest
from rock.wire.operations import (
    CLOSE_COMMAND,
    CLOSE_SESSION,
    SEND_INPUT,
    SIGNAL_COMMAND,
    START_IN_SESSION,
    WAIT_COMMAND,
)
from tests.followers import Follower
from tests.rocklet.callers import Caller

pytestmark = pytest.mark.slow

PATIENCE = 60.0  # seconds in which what must happen happens, on whatever machine


async def start(bash: Caller, command: str, **options: bool | float | str) -> CommandStatus:
    return await bash.call(START_IN_SESSION, StartInSessionRequest(command=command, **options))  # type: ignore[arg-type]  # the request's fields


async def until(bash: Caller, begun: CommandStatus, said: bytes) -> Follower:
    """Somebody who has followed it until it had printed that."""
    follower = Follower(bash.http, begun.command_id)
    async with follower.attached() as reply:
        while not follower.stdout.endswith(said):
            await follower.take(reply, at_least=1)
    return follower


async def test_its_output_comes_as_the_session_prints_it_and_the_session_has_what_it_did(bash: Caller) -> None:
    await bash.run("cd /usr; X=before")
    begun = await start(bash, "pwd; echo $X; X=after; echo to stderr >&2; printf 'ä€'; false")
    async with asyncio.timeout(PATIENCE):
        follower = await Follower(bash.http, begun.command_id).follow()
    assert follower.stdout.decode() == "/usr\nbefore\nto stderr\nä€"
    assert follower.end is not None
    assert (follower.end.exit_code, follower.end.cut_bytes, bytes(follower.stderr)) == (1, 0, b"")
    assert (await bash.run("echo $X $?")).output == "after 1\n"


async def test_it_is_the_same_to_the_byte_as_what_run_answers(bash: Caller) -> None:
    script = "for i in $(seq 20000); do echo line $i; done; printf '\\377\\r\\n\\0'; seq 10 | tail -c 3"
    ran = await bash.run(script)
    begun = await start(bash, script)
    async with asyncio.timeout(PATIENCE):
        follower = await Follower(bash.http, begun.command_id).follow()
    assert follower.stdout.decode("utf-8", "backslashreplace") == ran.output


async def test_commands_wait_for_their_turn(bash: Caller) -> None:
    async with asyncio.timeout(PATIENCE):
        first = await start(bash, "echo on; read x; echo $x")
        await until(bash, first, b"on\n")
        second = await start(bash, "echo second")
        to_second = CommandSignal(command_id=second.command_id, signal=signal.SIGKILL)
        assert (await bash.call(SIGNAL_COMMAND, to_second)).pid == 0
        await bash.call(SEND_INPUT, CommandInput(command_id=first.command_id, data=b"typed\n"))
        assert (await Follower(bash.http, first.command_id).follow()).stdout == b"on\ntyped\n"
        assert (await Follower(bash.http, second.command_id).follow()).stdout == b"second\n"


async def test_keys_and_their_end_reach_what_reads_the_terminal(bash: Caller) -> None:
    async with asyncio.timeout(PATIENCE):
        begun = await start(bash, "echo on; cat; echo over")
        follower = await until(bash, begun, b"on\n")
        await bash.call(SEND_INPUT, CommandInput(command_id=begun.command_id, data=b"typed\n", is_last=True))
        await follower.follow()
    assert follower.stdout == b"on\ntyped\nover\n"


async def test_a_signal_reaches_what_is_in_the_foreground(bash: Caller) -> None:
    async with asyncio.timeout(PATIENCE):
        begun = await start(bash, "sh -c 'echo on; while :; do :; done'; echo $?")
        follower = await until(bash, begun, b"on\n")
        await bash.call(SIGNAL_COMMAND, CommandSignal(command_id=begun.command_id, signal=signal.SIGKILL))
        await follower.follow()
    assert follower.stdout.endswith(b"137\n")


async def test_closing_it_ends_it_and_leaves_the_session(bash: Caller) -> None:
    await bash.run("X=kept")
    async with asyncio.timeout(PATIENCE):
        begun = await start(bash, "echo on; sleep 300")
        await until(bash, begun, b"on\n")
        assert (await bash.call(CLOSE_COMMAND, CommandRequest(command_id=begun.command_id))).canceled
        assert (await bash.run("echo $X")).output == "kept\n"


async def test_its_limits_are_its_own(bash: Caller) -> None:
    begun = await start(bash, "sleep 300", silence_timeout=0.1, background=True)
    async with asyncio.timeout(PATIENCE):
        told = await Follower(bash.http, begun.command_id).follow()
    assert told.end is not None
    assert (told.end.timed_out, told.end.failure_reason) == (
        True, "printed nothing for 0.1 s; its process group was killed"
    )  # fmt: skip


async def test_a_session_that_is_closed_ends_it_with_the_reason(bash: Caller) -> None:
    async with asyncio.timeout(PATIENCE):
        begun = await start(bash, "echo on; sleep 300", background=True)
        queued = await start(bash, "echo never", background=True)
        await until(bash, begun, b"on\n")
        await bash.call(CLOSE_SESSION, SessionRequest())
        for command, said in ((begun, "the session was closed"), (queued, "was closed; create it again")):
            request = WaitCommandRequest(command_id=command.command_id, hold=2)
            while not (told := await bash.call(WAIT_COMMAND, request)).has_ended:
                pass
            assert (told.canceled, said in told.failure_reason) == (True, True)


async def test_what_cannot_be_begun_says_so_at_once(bash: Caller) -> None:
    with pytest.raises(SessionNotFound):
        await start(bash, "true", session="nobody")
    with pytest.raises(CommandFailed, match="syntax"):
        await start(bash, "if", check_syntax=True)
