from __future__ import annotations

import asyncio
import inspect
import signal

import pytest

from rock._commands import Commands, RunningCommand
from rock._sandbox_config import SandboxConfig
from rock._sync import SyncSandbox
from rock._sync_commands import SyncCommands, SyncRunningCommand
from tests.rock.servers import WireServer


@pytest.mark.slow
async def test_their_calls_block_and_do_what_their_twins_do(gateway: WireServer) -> None:
    config = SandboxConfig(base_url=gateway.url, api_key="secret", direct="always", sandbox_id="s1")
    # In another thread, because the gateway lives in this one's loop.
    await asyncio.to_thread(_use, SyncSandbox(config))


def _use(twin: SyncSandbox) -> None:
    with twin as sandbox:
        _stream(sandbox)
        _leave_running(sandbox)


def _stream(sandbox: SyncSandbox) -> None:
    with sandbox.commands.stream("echo on; read x; echo $x >&2; exit 3", keep_stdin=True) as command:
        seen = []
        for stream, data, text in command:
            seen.append((stream, data.decode()))
            if text == "on\n":
                command.write("off\n")
        assert (seen, command.exit_code) == ([("stdout", "on\n"), ("stderr", "off\n")], 3)


def _leave_running(sandbox: SyncSandbox) -> None:
    started = sandbox.commands.start("echo one; read gate; echo two; read never", keep_stdin=True)
    for piece in started:
        assert piece.text == "one\n"
        break
    assert [piece.text for piece in started.follow(wait=False)] == []
    assert not started.wait(timeout=0.01).has_ended
    started.write("go\n")
    elsewhere = sandbox.commands.attach(started.command_id, cursor=started.cursor)
    assert next(iter(elsewhere)).text == "two\n"
    assert [command.command_id for command in sandbox.commands.list()] == [started.command_id]
    started.signal(signal.SIGTERM)
    assert started.wait().exit_code == 128 + signal.SIGTERM
    started.close()
    assert sandbox.commands.list() == []


@pytest.mark.parametrize(("ours", "twins"), [(SyncCommands, Commands), (SyncRunningCommand, RunningCommand)])
def test_they_have_every_call_of_their_twins(ours: type, twins: type) -> None:
    for name, call in inspect.getmembers(twins, inspect.isfunction):
        if not name.startswith("_"):
            twin = inspect.signature(getattr(ours, name))
            assert list(twin.parameters.values()) == list(inspect.signature(call).parameters.values())
