from __future__ import annotations

import asyncio
import copy
import hashlib
import os
import pickle
from pathlib import Path

import cloudpickle
import pytest

from rock._credentials import write_credentials
from rock._requests import (
    BashAction,
    CloseBashSessionRequest,
    Command,
    CreateBashSessionRequest,
    ReadFileRequest,
    UploadMode,
    UploadRequest,
    WriteFileRequest,
)
from rock._sandbox import Sandbox
from rock._sandbox_config import SandboxConfig
from rock.errors import (
    BadRequestRockError,
    ClusterUnavailable,
    CommandRockError,
    CommandTimeout,
    FileAccess,
    FileNotFound,
    InvalidParameterRockException,
    InvalidRequest,
    NonZeroExitCode,
    NotInThisClient,
    SandboxDied,
    SandboxNotFound,
    SessionNotFound,
)
from rock.wire import messages as m
from rock.wire.operations import DELETE_SANDBOX, GET_CLOCKS, GET_SANDBOX, RESOLVE_ROCKLET, STOP_SANDBOX
from rock.wire.reasons import Reason
from tests.processes import is_running
from tests.rock.servers import WireServer, serve

pytestmark = pytest.mark.slow  # a rocklet of its own for each test


async def test_a_started_sandbox_knows_itself_and_does_not_show_its_key(sandbox: Sandbox, gateway: WireServer) -> None:
    assert (sandbox.sandbox_id, sandbox.host_name, sandbox.host_ip) == ("s1", "node-1", "10.0.0.7")
    assert sandbox.url == f"{gateway.url}/apis/envs/sandbox/v1"
    assert "secret" not in f"{sandbox!r} {sandbox} {sandbox.config!r}"


async def test_a_session_keeps_its_state_from_command_to_command(sandbox: Sandbox) -> None:
    await sandbox.create_session(CreateBashSessionRequest(session="work", env={"GREETING": "hello"}))
    await sandbox.arun(cmd="cd /tmp && x=1", session="work")
    observation = await sandbox.arun(cmd='echo "$PWD $x $GREETING"', session="work")
    assert (observation.output, observation.exit_code) == ("/tmp 1 hello", 0)


async def test_creating_a_session_again_keeps_it(sandbox: Sandbox) -> None:
    await sandbox.create_session()
    await sandbox.arun("x=1", session="default")
    await sandbox.create_session()
    assert (await sandbox.arun("echo $x", session="default")).output == "1"


async def test_an_image_without_bash_is_said_where_users_look(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    said = await sandbox.create_session(CreateBashSessionRequest(env={"PATH": str(tmp_path)}))
    assert said.output.startswith("the image has no bash; the session runs sh")
    with pytest.raises(BadRequestRockError, match=r"this image has no shell.*use execute"):
        await sandbox.create_session(CreateBashSessionRequest(session="none", env={"PATH": str(tmp_path / "none")}))


async def test_a_session_that_was_not_created_is_an_error_and_closing_it_is_none(sandbox: Sandbox) -> None:
    with pytest.raises(SessionNotFound):
        await sandbox.arun("true", session="never-made")
    await sandbox.close_session(CloseBashSessionRequest(session="never-made"))


async def test_without_a_session_one_is_opened_and_closed_again(sandbox: Sandbox) -> None:
    assert (await sandbox.arun("echo hi")).output == "hi"
    clocks = await sandbox._rocklet.call(GET_CLOCKS, m.Empty())
    assert clocks.sessions == 0


async def test_a_command_that_fails_raises_with_its_exit_code_and_output(sandbox: Sandbox) -> None:
    await sandbox.create_session()
    with pytest.raises(NonZeroExitCode, match=r"^Failed to execute command: .*exit code 3(.|\n)*some words") as caught:
        await sandbox.arun("echo some words; (exit 3)", session="default")
    assert isinstance(caught.value, CommandRockError)
    assert (caught.value.exit_code, caught.value.output) == (3, "some words")


async def test_check_says_what_a_failing_command_does(sandbox: Sandbox) -> None:
    await sandbox.create_session()
    assert (await sandbox.arun("(exit 3)", session="default", check="silent")).exit_code == 3
    assert (await sandbox.arun("(exit 3)", session="default", check="ignore")).exit_code is None
    observation = await sandbox.run_in_session(BashAction(command="(exit 4)", check="silent"))
    assert observation.exit_code == 4


async def test_a_command_that_takes_too_long_is_killed_and_its_output_kept(sandbox: Sandbox) -> None:
    await sandbox.create_session()
    with pytest.raises(CommandTimeout, match=r"^Failed to execute command:") as caught:
        await sandbox.arun("echo early; sleep 60", session="default", timeout=0.3)
    assert caught.value.details["output"] == "early"
    observation = await sandbox.arun("echo early; sleep 60", session="default", timeout=0.3, check="silent")
    assert observation.output == "early"
    assert observation.failure_reason
    assert (await sandbox.arun("echo still here", session="default")).output == "still here"


async def test_of_an_output_beyond_the_cap_the_middle_is_cut_and_the_note_is_no_part_of_it(sandbox: Sandbox) -> None:
    limit = m.DEFAULT_OUTPUT_LIMIT
    done = await sandbox.arun(f"echo first; head -c {limit} /dev/zero | tr '\\0' x; echo; echo last")
    assert done.failure_reason == "12 bytes were cut from the middle of the output"
    assert done.output == f"first\n{'x' * (limit - 12)}\nlast"


async def test_another_mode_than_normal_is_refused_by_name(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidParameterRockException, match=r"Unsupported arun mode: sideways; .*'normal' or 'nohup'"):
        await sandbox.arun("true", mode="sideways")


async def test_some_lines_of_a_file_are_read(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("".join(f"{n}\n" for n in range(1, 3001)) + "last")
    read = sandbox.read_file_by_line_range
    assert (await read(str(path), 2, 4)).content == "2\n3\n4\n"
    assert (await read(str(path), start_line=3000)).content == "3000\nlast"
    assert (await read(str(path))).content == path.read_text()
    for wrong, reason in (((0, None), "must be positive"), ((5, 4), "must be greater")):
        with pytest.raises(InvalidParameterRockException, match=reason):
            await read(str(path), *wrong)
    with pytest.raises(InvalidParameterRockException, match="between 1 and 10000"):
        await read(str(path), lines_per_request=0)
    with pytest.raises(FileAccess):
        await read(str(tmp_path / "none"))


async def test_a_stopped_sandbox_is_deleted_and_what_nomad_cannot_do_says_so(
    sandbox: Sandbox, gateway: WireServer
) -> None:
    gateway.always(DELETE_SANDBOX, m.Empty())
    await sandbox.delete()
    assert len(gateway.asked(DELETE_SANDBOX)) == 1
    calls = (sandbox.restart(), sandbox.archive(), sandbox.commit("t", "u", "p"), sandbox.commit_async("t", "u", "p"))
    for call in (*calls, sandbox.get_commit_status()):
        with pytest.raises(NotInThisClient, match=r"^Sandbox\.\w+"):
            await call
    with pytest.raises(NotInThisClient, match=r"RockAgent\.install is not in this client yet"):
        sandbox.agent.install("agent.yaml")


async def test_a_cancelled_command_is_ended_and_its_session_answers(sandbox: Sandbox) -> None:
    mark = f"sleep 3600.{os.getpid()}"  # nobody else's
    await sandbox.create_session()
    for _ in range(5):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(sandbox.arun(mark, session="default"), 0.1)
        assert (await sandbox.arun("echo next", session="default")).output == "next"
    assert not is_running(mark)


async def test_execute_runs_argv_and_shell_text(sandbox: Sandbox) -> None:
    argv = await sandbox.execute(Command(command=["printf", "%s", "a b"]))
    assert (argv.stdout, argv.stderr, argv.exit_code) == ("a b", "", 0)
    text = await sandbox.execute(Command(command="echo $X >&2; exit 5", env={"X": "y"}, cwd="/"))
    assert (text.stderr, text.exit_code) == ("y\n", 5)


async def test_a_program_that_cannot_be_started_or_takes_too_long_has_minus_one_and_a_reason(sandbox: Sandbox) -> None:
    missing = await sandbox.execute(Command(command=["no-such-program"]))
    assert missing.exit_code == -1
    assert "no-such-program" in missing.stderr
    late = await sandbox.execute(Command(command="echo out; sleep 60", timeout=0.3))
    assert (late.exit_code, late.stdout) == (-1, "out\n")
    assert late.stderr


async def test_text_files_go_there_and_back(sandbox: Sandbox, tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "a.txt")
    assert (await sandbox.write_file(WriteFileRequest(content="ä\r\n", path=path))).success
    assert (await sandbox.read_file(ReadFileRequest(path=path))).content == "ä\r\n"
    assert (await sandbox.write_file_by_path("b", path)).success
    assert Path(path).read_text() == "b"


async def test_a_missing_file_raises_and_a_path_that_cannot_be_written_says_so(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFound):
        await sandbox.read_file(ReadFileRequest(path=str(tmp_path / "none")))
    answer = await sandbox.write_file_by_path("x", str(tmp_path))
    assert not answer.success
    assert answer.message


@pytest.mark.parametrize("size", [0, 1, 3 * 1024 * 1024 + 17])
async def test_any_bytes_go_up_and_come_down_as_they_are(sandbox: Sandbox, tmp_path: Path, size: int) -> None:
    content = hashlib.shake_128(b"seed").digest(size)
    local, remote, back = tmp_path / "local", tmp_path / "deep" / "remote", tmp_path / "back"
    local.write_bytes(content)
    uploaded = await sandbox.upload(UploadRequest(source_path=str(local), target_path=str(remote)))
    assert (uploaded.success, uploaded.file_name) == (True, "remote")
    assert remote.read_bytes() == content
    assert (await sandbox.download(str(remote), back)).success
    assert back.read_bytes() == content


async def test_an_upload_that_cannot_be_says_so(sandbox: Sandbox, tmp_path: Path) -> None:
    local = tmp_path / "local"
    missing = await sandbox.upload_by_path(local, "/tmp/x")
    assert (missing.success, missing.message) == (False, f"File not found: {local}")
    local.write_text("x")
    assert not (await sandbox.upload_by_path(local, str(tmp_path))).success
    local.write_bytes(bytes(50 * 2**20))  # the refusal comes while the body still goes up
    assert not (await sandbox.upload_by_path(local, str(tmp_path))).success
    assert not (await sandbox.upload_by_path(local, "/tmp/x", UploadMode.OSS)).success
    with pytest.raises(InvalidRequest):
        await sandbox.upload_by_path(local, "relative")


async def test_downloading_what_is_not_there_leaves_no_local_file(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFound):
        await sandbox.download(str(tmp_path / "none"), tmp_path / "empty" / "local")
    assert list((tmp_path / "empty").iterdir()) == []


async def test_a_sandbox_pickles_copies_and_works_after_use(sandbox: Sandbox) -> None:
    await sandbox.create_session()
    twins = [pickle.loads(pickle.dumps(sandbox)), copy.deepcopy(sandbox)]
    twins.append(cloudpickle.loads(cloudpickle.dumps(sandbox)))
    for twin in twins:
        assert (await twin.arun("echo hi", session="default")).output == "hi"


async def test_status_and_liveness_are_the_gateways_word(sandbox: Sandbox, gateway: WireServer) -> None:
    status = await sandbox.get_status()
    assert (status.state, status.is_alive, status.host_ip) == ("running", True, "10.0.0.7")
    alive = await sandbox.is_alive()
    assert (bool(alive), alive.message) == (True, "node-1")
    gateway.always(GET_SANDBOX, m.SandboxStatus(sandbox_id="s1", state=m.State.STOPPED, reason=Reason.OOM))
    with pytest.raises(SandboxDied):
        await sandbox.get_status()
    assert (await sandbox.get_status(include_all_states=True)).reason == "oom"


async def test_attaching_takes_over_what_the_sandbox_is(gateway: WireServer, endpoint: m.RockletEndpoint) -> None:
    status = m.SandboxStatus(
        sandbox_id="s1",
        state=m.State.RUNNING,
        image="busybox",
        cpus=3,
        memory_bytes=2**30,
        labels={"rock.user_id": "ada"},
        rocklet=endpoint,
    )
    gateway.always(GET_SANDBOX, status)
    sandbox = Sandbox(SandboxConfig(base_url=gateway.url, api_key="secret", direct="always"))
    await sandbox.attach("s1")
    assert sandbox.sandbox_id == sandbox.config.sandbox_id == "s1"
    assert (sandbox.config.image, sandbox.config.cpus, sandbox.config.memory) == ("busybox", 3, "1.00g")
    assert sandbox.config.user_id == "ada"
    assert (await sandbox.arun("echo hi")).output == "hi"


async def test_stop_raises_nothing(sandbox: Sandbox, gateway: WireServer) -> None:
    await sandbox.stop()
    for error in (SandboxNotFound("gone"), ClusterUnavailable("down")):
        gateway.always(STOP_SANDBOX, error)
        await sandbox.stop()
        await sandbox.close()
    await Sandbox(SandboxConfig(base_url=gateway.url)).stop()


async def test_a_block_starts_and_stops(gateway: WireServer) -> None:
    config = SandboxConfig(base_url=gateway.url, api_key="secret", direct="always")
    async with Sandbox(config) as sandbox:
        sandbox_id = sandbox.sandbox_id
    (stopped,) = gateway.asked(STOP_SANDBOX)
    assert stopped.http is not None
    assert stopped.http.match_info["sandbox_id"] == sandbox_id


async def test_a_lease_is_renewed(sandbox: Sandbox) -> None:
    await sandbox.renew_lease(60)
    clocks = await sandbox._rocklet.call(GET_CLOCKS, m.Empty())
    assert clocks.lease_remaining is not None


async def test_before_it_is_started_every_action_says_so(gateway: WireServer) -> None:
    sandbox = Sandbox(SandboxConfig(base_url=gateway.url))
    for action in (sandbox.arun("true", session="x"), sandbox.get_status()):
        with pytest.raises(BadRequestRockError, match=r"call start\(\) or attach\(\)"):
            await action


async def test_setting_the_url_moves_later_calls_to_another_gateway(
    sandbox: Sandbox, endpoint: m.RockletEndpoint
) -> None:
    async with serve(WireServer(is_gateway=True)) as other:
        other.always(RESOLVE_ROCKLET, endpoint)
        sandbox.url = f"{other.url}/apis/envs/sandbox/v1"
        assert (await sandbox.arun("echo hi")).output == "hi"
    assert [seen.operation for seen in other.seen] == [RESOLVE_ROCKLET]


async def test_a_key_from_the_credentials_file_does_not_move_to_another_gateway(
    gateway: WireServer, tmp_path: Path
) -> None:
    write_credentials(tmp_path / "credentials.json", gateway.url, "secret")
    sandbox = Sandbox(SandboxConfig(direct="never"))
    await sandbox.attach("s1")
    async with serve(WireServer(is_gateway=True, token=None)) as other:
        other.always(GET_SANDBOX, SandboxNotFound("not here"))
        sandbox.url = other.url
        with pytest.raises(SandboxNotFound):
            await sandbox.get_status()
    assert "Authorization" not in other.seen[0].headers


async def test_a_silent_command_is_ended_before_its_time(sandbox: Sandbox) -> None:
    with pytest.raises(CommandTimeout, match=r"printed nothing for 0\.2 s"):
        await sandbox.arun("sleep 300", timeout=300, silence_timeout=0.2)
