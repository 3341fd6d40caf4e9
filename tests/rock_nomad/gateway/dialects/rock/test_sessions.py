"""ROCK's published client, unchanged, about what happens in a sandbox; and the wire, where that client hides it."""

import asyncio
import base64
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request

from rock.wire.errors import (
    ClusterUnavailable,
    NotReady,
    OutcomeUnknown,
    RockException,
    SandboxDied,
    SandboxEnded,
    SandboxNotFound,
    SandboxUnreachable,
    StartFailed,
)
from rock.wire.operations import LIST_SESSIONS
from rock_nomad.gateway.dialects.rock.calls import to_endpoint
from rock_nomad.gateway.dialects.rock.sessions import CALLS
from tests.gateways import Gateway
from tests.rl_rock import SAMPLES, rl_rock_python, run_sample, seconds

pytestmark = pytest.mark.slow

PREFIX = "/apis/envs/sandbox/v1"


class _Client:
    """Calls of ROCK's wire about one sandbox."""

    def __init__(self, gateway: Gateway, sandbox_id: str) -> None:
        self.gateway, self.sandbox_id = gateway, sandbox_id
        shown = base64.b64encode(f"anybody:{gateway.key}".encode()).decode()
        self.headers = {"Authorization": f"Basic {shown}"}

    async def call(self, name: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        body = {"sandbox_id": self.sandbox_id, **fields}
        url = f"{self.gateway.url}{PREFIX}/{name}"
        async with self.gateway.session.post(url, json=body, headers=self.headers) as reply:
            assert reply.status == 200
            said: dict[str, Any] = await reply.json()
            return said

    async def run(self, command: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        return await self.call("run_in_session", command=command, **fields)


@pytest.fixture
async def client(gateway: Gateway) -> _Client:
    """A sandbox with the session `default`."""
    status = await gateway.create(memory_bytes=2**31)
    client = _Client(gateway, status.sandbox_id)
    await client.call("create_session")
    return client


@pytest.mark.timeout(900)
async def test_a_trainers_idioms_bring_the_same_with_rocks_client_and_with_ours(
    gateway: Gateway, tmp_path: Path
) -> None:
    told = {}
    for name, python in {"theirs": rl_rock_python(), "ours": Path(sys.executable)}.items():
        folder = tmp_path / name
        folder.mkdir()
        arguments = (str(folder), seconds(20, 2), seconds(60, 3))
        status, said = await run_sample("trainer_idioms.py", gateway, *arguments, folder=folder, python=python)
        assert status == 0, said
        told[name] = [json.loads(line[5:]) for line in said.splitlines() if line.startswith("told:")]
    assert told["theirs"] == told["ours"] == [_TOLD, _TOLD]


_TOLD = {
    "host_ip": True,
    "host_name": True,
    "job": {"began": 0, "in time": True, "read": [0, True]},
    "syntax": {"silent": True, "raise": True, "touched": False},
    "failure": {"silent": ["words", 3], "raise": True},
    "hang": {"tries": 2, "in time": True, "output": "answered"},
    "large": {"exit_code": 0, "whole": True},
    "status": ["running", True],
    "stop": "None",
}
"""What a trainer is told of its episode."""


def test_every_line_with_which_a_trainer_imports_rock_works() -> None:
    program = str(SAMPLES / "roll_imports.py")
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == ""


@pytest.mark.timeout(900)
async def test_a_command_may_take_longer_than_its_client_waits_for_a_byte(gateway: Gateway, tmp_path: Path) -> None:
    status, said = await run_sample("long_commands.py", gateway, seconds(310, 6), folder=tmp_path)
    assert status == 0, said


async def test_a_server_in_a_sandbox_is_reached_through_the_gateway(gateway: Gateway, tmp_path: Path) -> None:
    status, said = await run_sample("port_proxy.py", gateway, str(tmp_path), folder=tmp_path)
    assert status == 0, said


async def test_a_timeout_is_the_commands_and_brings_what_was_printed(gateway: Gateway, tmp_path: Path) -> None:
    status, said = await run_sample("timeouts.py", gateway, folder=tmp_path)
    assert status == 0, said


async def test_a_long_command_sends_whitespace_so_that_a_short_read_timeout_does_not_hit(client: _Client) -> None:
    url = f"{client.gateway.url}{PREFIX}/run_in_session"
    body = {"sandbox_id": client.sandbox_id, "command": "sleep 3; echo late"}
    patience = aiohttp.ClientTimeout(sock_read=2)
    async with client.gateway.session.post(url, json=body, headers=client.headers, timeout=patience) as reply:
        said = await reply.read()
        assert (said[:2], (await reply.json())["result"]["output"]) == (b"  ", "late")


async def test_an_image_without_bash_is_said_in_the_one_text_that_clients_show(client: _Client, tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    created = await client.call("create_session", session="plain", env={"PATH": str(tmp_path)})
    assert created["result"]["output"].startswith("the image has no bash; the session runs sh")
    refused = await client.call("create_session", session="none", env={"PATH": "/none"})
    assert refused["result"]["code"] == 4000
    assert "this image has no shell" in refused["error"]


async def test_what_check_wants_decides_how_a_status_is_told(client: _Client) -> None:
    assert (await client.run("false"))["error"] == "Command 'false' failed with exit code 1. Here is the output:\n''"
    assert (await client.run("false", check="silent"))["result"]["exit_code"] == 1
    assert (await client.run("false", check="ignore"))["result"]["exit_code"] is None


async def test_the_probe_of_an_announced_process_is_held_until_it_ends(client: _Client) -> None:
    said = await client.run("nohup sleep 1 < /dev/null > /dev/null 2>&1 & echo PIDSTART${!}PIDEND;disown")
    pid = said["result"]["output"].partition("PIDSTART")[2].partition("PIDEND")[0]
    assert (await client.run(f"kill -0 {pid}"))["status"] == "Failed"  # and not: that it lives


async def test_the_probe_of_a_process_that_lives_on_is_answered_in_time(client: _Client) -> None:
    said = await client.run("nohup sleep 60 < /dev/null > /dev/null 2>&1 & echo PIDSTART${!}PIDEND;disown")
    pid = said["result"]["output"].partition("PIDSTART")[2].partition("PIDEND")[0]
    began = time.monotonic()
    assert (await client.run(f"kill -0 {pid}"))["status"] == "Success"
    assert time.monotonic() - began > 3.5


async def test_the_probe_of_an_announced_process_does_not_wait_for_the_session(client: _Client) -> None:
    said = await client.run("nohup sleep 0.5 < /dev/null > /dev/null 2>&1 & echo PIDSTART${!}PIDEND;disown")
    pid = said["result"]["output"].partition("PIDSTART")[2].partition("PIDEND")[0]
    async with asyncio.TaskGroup() as tasks:
        busy = tasks.create_task(client.run("sleep 100"))
        assert (await client.run(f"kill -0 {pid}"))["status"] == "Failed"
        assert not busy.done()
        busy.cancel()


async def test_the_probe_of_any_other_process_is_answered_at_once(client: _Client) -> None:
    began = time.monotonic()
    for _ in range(10):
        assert (await client.run("kill -0 1"))["status"] == "Success"
    assert time.monotonic() - began < 30  # and not after four seconds each
    assert (await client.run(f"kill -0 {2**22 - 1}"))["status"] == "Failed"


async def test_a_caller_that_goes_away_frees_the_session_each_time(client: _Client) -> None:
    for _ in range(50):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.run("sleep 100")
        assert (await client.run("echo next"))["result"]["output"] == "next"  # long before the sleep is over


async def test_output_has_no_control_sequences_and_no_blanks_around_it(client: _Client) -> None:
    said = await client.run(r"printf '\n \033[31mred\033[0m \n\n'")
    assert said["result"]["output"] == "red"


async def test_of_an_output_beyond_the_cap_the_middle_is_cut_and_the_note_is_no_part_of_it(client: _Client) -> None:
    size, limit = 64 * 2**20 + 1000, 64 * 2**20
    command = f"echo first; head -c {size - 12} /dev/zero | tr '\\0' x; echo; echo last"
    result = (await client.run(command))["result"]
    assert result["failure_reason"] == f"{size - limit} bytes were cut from the middle of the output"
    assert result["output"] == f"first\n{'x' * (limit - 12)}\nlast"
    result = (await client.call("execute", command=["sh", "-c", command]))["result"]
    assert result["stdout"] == f"first\n{'x' * (limit - 12)}\nlast\n"
    assert result["stderr"] == f"{size - limit} bytes were cut from the middle of the output"


async def test_an_interactive_program_is_talked_to(client: _Client) -> None:
    said = await client.run("python3 -q -i", is_interactive_command=True, expect=[">>> "])
    assert (said["result"]["exit_code"], said["result"]["expect_string"]) == (0, ">>> ")
    said = await client.run("6 * 7", is_interactive_command=True, expect=[">>> "])
    assert "42" in said["result"]["output"]
    assert (await client.run("exit()", is_interactive_quit=True))["status"] == "Success"
    assert (await client.run("echo back"))["result"]["output"] == "back"


async def test_a_session_that_is_absent_can_be_closed_but_not_used(client: _Client) -> None:
    assert (await client.call("close_session", session="zzz"))["status"] == "Success"
    assert "session 'zzz' does not exist" in (await client.run("true", session="zzz"))["error"]


async def test_of_sessions_made_for_one_call_there_can_be_any_number(client: _Client) -> None:
    for number in range(260):
        said = await client.call("create_session", session=f"bash-{10**18 + number}")
        assert said["status"] == "Success", said
    listed = await client.gateway.call(LIST_SESSIONS, sandbox_id=client.sandbox_id)
    assert "default" in {each.session for each in listed.sessions}


async def test_what_execute_cannot_do_is_said_in_its_stderr(client: _Client) -> None:
    for fields, said in (
        ({"command": "sleep 9", "timeout": 0.2}, "timed out"),
        ({"command": ["no-such-program"]}, "no-such-program"),
        ({"command": ["true"], "cwd": "/no/such/folder"}, "/no/such/folder"),
        ({"command": "exit 7", "check": True}, "exit code 7"),
    ):
        result = (await client.call("execute", **fields))["result"]
        assert (result["exit_code"], said in result["stderr"]) == (-1, True)


@pytest.mark.parametrize(
    ("call", "fields", "said"),
    [
        ("create_session", {"session": "s", "remote_user": "nouser"}, "leave remote_user out"),
        ("create_session", {"session": "s", "startup_source": ["/nofile"]}, "names /nofile, which is no file"),
        ("create_session", {"session": "a/b"}, "session is 'a/b'; it must be 1 to 128 characters without /"),
        ("run_in_session", {"command": "true", "session": "s"}, "session 's' does not exist: there is no session 's';"),
        ("run_in_session", {"command": "a\0b"}, "command is 'a\\x00b'; it must be shell text without NUL"),
        ("execute", {"command": "true", "cwd": "here"}, "cwd is 'here'; it must be absolute"),
        ("read_file", {"path": "/etc"}, "/etc is a directory; only regular files can be read"),
        ("read_file", {"path": "/etc/passwd", "encoding": "runes"}, "encoding is 'runes'; it must be a text encoding"),
        ("read_file", {"path": "/etc/passwd", "errors": "x"}, "errors is 'x'; it must be one of backslashreplace"),
        ("write_file", {"path": "/tmp", "content": "x"}, "/tmp is a directory and cannot be replaced; give a file's"),
    ],
)
async def test_what_cannot_be_done_names_what_is_wrong_and_what_would_help(
    client: _Client, call: str, fields: dict[str, Any], said: str
) -> None:
    answer = await client.call(call, **fields)
    assert (answer["status"], answer["result"]["code"]) == ("Failed", 4000)
    assert said in answer["error"]


async def test_a_file_that_is_not_there_is_an_error(client: _Client) -> None:
    said = await client.call("read_file", path="/no/such/file")
    assert (said["status"], "/no/such/file" in said["error"]) == ("Failed", True)


async def test_a_write_that_fails_is_failed(client: _Client) -> None:
    assert (await client.call("write_file", path="/proc/nothing/x", content="x"))["status"] == "Failed"


async def test_a_file_with_other_line_ends_is_read_with_newlines(client: _Client) -> None:
    await client.call("write_file", path="~/text", content="a\r\nb\rc")
    assert (await client.call("read_file", path="~/text"))["result"]["content"] == "a\nb\nc"


async def test_an_upload_whose_file_comes_first_is_told_the_order(client: _Client) -> None:
    form = aiohttp.FormData()
    form.add_field("file", b"x", filename="x")
    form.add_field("target_path", "/tmp/x")
    url = f"{client.gateway.url}{PREFIX}/upload"
    async with client.gateway.session.post(url, data=form, headers=client.headers) as reply:
        said = await reply.json()
    assert (said["status"], "ahead of file" in said["error"]) == ("Failed", True)


async def _probe(error: RockException) -> bytes:
    """What a `kill -0` is answered while calls about its sandbox fail so."""

    async def perform(*_: Any, **__: Any) -> Any:  # noqa: ANN401 - any operation
        raise error

    call = next(each for each in CALLS if each.path == "/run_in_session")
    body = b'{"sandbox_id": "a", "command": "kill -0 17"}'
    request = make_mocked_request("POST", "/", headers={"Content-Type": "application/json"}, payload=_payload(body))
    response = await to_endpoint(replace(call, is_long=False), "read").answer(request, perform)
    assert isinstance(response, web.Response)
    assert isinstance(response.body, bytes)
    return response.body


def _payload(body: bytes) -> aiohttp.StreamReader:
    loop = asyncio.get_running_loop()
    content = aiohttp.StreamReader(BaseProtocol(loop), limit=2**16, loop=loop)
    content.feed_data(body)
    content.feed_eof()
    return content


@pytest.mark.parametrize("error", [SandboxUnreachable, OutcomeUnknown, ClusterUnavailable, NotReady])
async def test_a_probe_that_cannot_be_answered_does_not_say_that_the_process_is_gone(
    error: type[RockException],
) -> None:
    assert json.loads(await _probe(error("who knows")))["status"] == "Success"


@pytest.mark.parametrize("error", [SandboxEnded, SandboxDied, StartFailed, SandboxNotFound])
async def test_a_probe_in_a_sandbox_that_has_ended_says_so(error: type[RockException]) -> None:
    said = json.loads(await _probe(error("it is over")))
    assert (said["status"], "it is over" in said["error"]) == ("Failed", True)
