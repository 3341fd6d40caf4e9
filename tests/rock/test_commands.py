"""Commands that run by themselves, from the client to a real rocklet behind a relay that loses connections."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rock._commands import RunningCommand
from rock._requests import CreateBashSessionRequest
from rock._sandbox import Sandbox
from rock._sandbox_config import SandboxConfig
from rock.errors import CommandFailed, CommandNotFound, InvalidParameterRockException, InvalidRequest
from rock.wire import messages as m
from rock.wire.operations import CREATE_SANDBOX, RESOLVE_ROCKLET
from tests.followers import COMPLAINED, SAID, TALK
from tests.rock.proxies import Relay, run_relay
from tests.rock.servers import WireServer, running, serve
from tests.rocklets import start_rocklet

pytestmark = pytest.mark.slow

PATIENCE = 60.0  # seconds in which what must happen happens, on whatever machine


@asynccontextmanager
async def relayed(home: Path) -> AsyncIterator[tuple[Sandbox, Relay]]:
    """A sandbox whose rocklet is reached through a relay."""
    async with (
        start_rocklet(sandbox_id="s1", home=home) as (url, token, _process),
        run_relay(url) as relay,
        serve(WireServer(is_gateway=True)) as gateway,
    ):
        endpoint = m.RockletEndpoint(sandbox_id="s1", url=relay.url, token=token, alloc_id="a1")
        gateway.always(CREATE_SANDBOX, running("s1", endpoint))
        gateway.always(RESOLVE_ROCKLET, endpoint)
        sandbox = Sandbox(SandboxConfig(base_url=gateway.url, api_key="secret", sandbox_id="s1", direct="always"))
        await sandbox.start()
        async with asyncio.timeout(PATIENCE):
            yield sandbox, relay


async def read_all(command: RunningCommand) -> dict[str, bytes]:
    read = {"stdout": b"", "stderr": b""}
    async for piece in command:
        read[piece.stream] += piece.data
    return read


async def test_output_comes_as_it_is_printed_and_the_exit_code_last(sandbox: Sandbox) -> None:
    script = "echo on; read x; echo $x >&2; exit 3"
    async with asyncio.timeout(PATIENCE), sandbox.commands.stream(script, keep_stdin=True) as command:
        seen = []
        async for piece in command:
            seen.append(piece)
            if piece.text == "on\n":
                assert command.exit_code is None
                await command.write("wörd\n")
    assert [(piece.stream, piece.text) for piece in seen] == [("stdout", "on\n"), ("stderr", "wörd\n")]
    assert (command.exit_code, command.cursor) == (3, 9)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(min_value=0, max_value=20_000), min_size=1, max_size=6))
def test_every_byte_comes_once_wherever_connections_are_lost(tmp_path: Path, losses: list[int]) -> None:
    async def check() -> None:
        read = {"stdout": b"", "stderr": b""}
        text = {"stdout": "", "stderr": ""}
        async with relayed(tmp_path) as (sandbox, relay), sandbox.commands.stream(TALK) as command:
            relay.losses = list(losses)
            async for piece in command:
                read[piece.stream] += piece.data
                text[piece.stream] += piece.text
            assert relay.lost >= 1
            relay.losses.clear()
        assert (read["stdout"], read["stderr"], command.exit_code) == (SAID, COMPLAINED, 7)
        assert (text["stdout"], text["stderr"]) == (SAID.decode(), COMPLAINED.decode())

    asyncio.run(check())


async def test_a_rocklet_that_is_out_of_reach_for_a_while_is_waited_for(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (sandbox, relay):
        command = await sandbox.commands.start("echo one; read gate; echo two", keep_stdin=True)
        text = ""

        async def come_back() -> None:
            await asyncio.sleep(1.0)  # for so long nothing can be reached
            relay.down = False
            await command.write("go\n")

        async with asyncio.TaskGroup() as tasks:
            async for piece in command:
                text += piece.text
                if text == "one\n":
                    relay.down = True
                    relay.cut()
                    tasks.create_task(come_back())
        assert (text, command.exit_code) == ("one\ntwo\n", 0)


async def test_a_character_that_is_cut_in_two_comes_whole(sandbox: Sandbox) -> None:
    script = "printf '\\303'; read x; printf '\\244 \\377 \\303'"
    async with asyncio.timeout(PATIENCE), sandbox.commands.stream(script, keep_stdin=True) as command:
        text = ""
        async for piece in command:
            text += piece.text
            if piece.data == b"\303":
                assert piece.text == ""
                await command.write("\n")
    assert text == "ä \\xff \\xc3"


async def test_who_breaks_off_goes_on_behind_the_last_piece(sandbox: Sandbox) -> None:
    command = await sandbox.commands.start(TALK)
    async with asyncio.timeout(PATIENCE):
        async with aclosing(command.follow()) as pieces:
            first = await anext(pieces)
        rest = await read_all(command)
        elsewhere = await sandbox.commands.attach(command.command_id, cursor=len(first.data))
        again = await read_all(elsewhere)
    assert {**rest, first.stream: first.data + rest[first.stream]} == {"stdout": SAID, "stderr": COMPLAINED}
    assert again == rest


async def test_what_is_there_by_now_is_had_without_waiting(sandbox: Sandbox) -> None:
    command = await sandbox.commands.start("echo one; read never", keep_stdin=True)
    text = ""
    async with asyncio.timeout(PATIENCE):
        while not text:
            text = "".join([piece.text async for piece in command.follow(wait=False)])
    assert (text, command.status.has_ended) == ("one\n", False)


async def test_a_command_lives_on_in_the_background_and_is_found_again(sandbox: Sandbox) -> None:
    command = await sandbox.commands.start(["sleep", "300"])
    assert not (await command.wait(0.01)).has_ended
    (listed,) = await sandbox.commands.list()
    assert listed.command_id == command.command_id
    async with asyncio.timeout(PATIENCE):
        await listed.signal(signal.SIGTERM)
        assert (await command.wait()).exit_code == 143
    await command.close()
    await command.close()
    with pytest.raises(CommandNotFound):
        await sandbox.commands.attach(command.command_id)


async def test_a_block_that_is_left_ends_its_command(sandbox: Sandbox) -> None:
    with pytest.raises(KeyError):
        async with sandbox.commands.stream(["sleep", "300"]):
            raise KeyError
    assert await sandbox.commands.list() == []


async def test_input_of_any_size_arrives(sandbox: Sandbox) -> None:
    async with asyncio.timeout(PATIENCE), sandbox.commands.stream(["wc", "-c"], keep_stdin=True) as command:
        await command.write(b"x" * 1_200_000)
        await command.close_stdin()
        assert (await read_all(command))["stdout"].strip() == b"1200000"
        await command.write("nobody feels this")


async def test_what_cannot_be_started_says_why(sandbox: Sandbox) -> None:
    with pytest.raises(CommandFailed, match="nonono"):
        await sandbox.commands.start(["nonono"])
    with pytest.raises(InvalidRequest, match="keep_stdin"):
        await (await sandbox.commands.start(["sleep", "9"])).write("x")


async def test_a_command_of_a_session_comes_as_it_is_printed(sandbox: Sandbox) -> None:
    await sandbox.create_session(CreateBashSessionRequest(session="work"))
    async with asyncio.timeout(PATIENCE):
        async with sandbox.commands.stream("cd /usr; echo on; read x; echo $x; false", session="work") as command:
            text = ""
            async for piece in command:
                text += piece.text
                if text == "on\n":
                    await command.write("typed\n")
        assert (text, command.exit_code) == ("on\ntyped\n", 1)
        assert (await sandbox.arun("pwd", session="work")).output == "/usr"
    with pytest.raises(InvalidParameterRockException, match="cwd"):
        await sandbox.commands.start("pwd", session="work", cwd="/")
