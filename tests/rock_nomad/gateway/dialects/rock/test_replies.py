import json
import subprocess
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rock.wire.errors import CODES, CommandFailed, CommandTimeout, RockException
from rock.wire.messages import CommandOutput, Observation, Phase, PhaseStatus, SandboxStatus, State
from rock.wire.reasons import REASONS, Family, Reason
from rock_nomad.gateway.dialects.rock.replies import (
    failed,
    render_execution,
    render_observation,
    render_start,
    render_status,
    succeeded,
    syntax_error,
)
from rock_nomad.gateway.dialects.rock.requests import ExecuteRequest, RunRequest
from rock_nomad.gateway.errors import why_not
from rock_nomad.status import SILENT
from tests.rl_rock import SAMPLES, rl_rock_python

GATEWAY = ("gateway", "10.0.0.1")
RUN = RunRequest(sandbox_id="a", command="x", check="silent")
EXECUTE = ExecuteRequest(sandbox_id="a", command="x")
_finite = st.floats(min_value=0, max_value=4e9, allow_nan=False)
_text = st.text(max_size=20)


def _structs(kind: type[msgspec.Struct], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any value of a struct, by its types."""
    return st.builds(kind, **{field.name: fields.get(field.name, _of(field.type)) for field in _fields(kind)})


def _fields(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _of(annotation: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - a type annotation
    arguments: tuple[Any, ...] = getattr(annotation, "__args__", ())
    if annotation is float:
        return _finite
    if annotation is str:
        return _text
    if annotation is int:
        return st.integers(0, 2**50)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return _structs(annotation)
    if getattr(annotation, "__origin__", None) is list:
        return st.lists(_of(arguments[0]), max_size=2)
    if getattr(annotation, "__origin__", None) is dict:
        return st.dictionaries(_of(arguments[0]), _of(arguments[1]), max_size=3)
    if type(None) in arguments:
        return st.none() | st.one_of(*(_of(each) for each in arguments if each is not type(None)))
    return st.from_type(annotation)


_PHASES = ("placement", "image_pull", "task_start", "rocklet")
STATUSES: st.SearchStrategy[SandboxStatus] = _structs(
    SandboxStatus,
    phases=st.fixed_dictionaries({}, optional=dict.fromkeys(_PHASES, _structs(PhaseStatus))),
    rocklet=st.none(),
)
ERRORS: st.SearchStrategy[RockException] = st.one_of(
    st.builds(lambda code, text: CODES[code](text, details={"value": text}), st.sampled_from(sorted(CODES)), _text),
    STATUSES.map(why_not),
)


class _Replies:
    """Replies for rl-rock, which constructs its own classes from them, all in one process."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def add(self, model: str, reply: bytes) -> None:
        self._lines.append(json.dumps({"model": model, "reply": json.loads(reply)}).encode())

    def construct(self) -> str:
        """What is wrong with them; nothing, if every one was constructed."""
        program = [str(rl_rock_python()), "-W", "ignore", str(SAMPLES / "construct_replies.py")]
        done = subprocess.run(program, input=b"\n".join(self._lines), capture_output=True, check=False, timeout=120)
        count = done.stdout.decode().strip()
        return "" if count == str(len(self._lines)) else done.stderr.decode()[-2000:]


@pytest.mark.slow
def test_every_reply_constructs_rocks_own_classes() -> None:
    replies = _Replies()

    @settings(max_examples=300, deadline=None)
    @given(STATUSES, ERRORS, _structs(Observation), _structs(CommandOutput))
    def collect(status: SandboxStatus, error: RockException, seen: Observation, output: CommandOutput) -> None:
        replies.add("SandboxStatusResponse", succeeded(render_status(status, GATEWAY)))
        replies.add("SandboxResponse", succeeded(render_start(status, GATEWAY)))
        replies.add("", failed(error, message=None, sandbox_id=status.sandbox_id))
        replies.add("CommandResponse", succeeded(render_execution(EXECUTE, output)))
        try:
            replies.add("BashObservation", succeeded(render_observation(RUN, seen)))
        except RockException as error:
            replies.add("BashObservation", failed(error, message="run in session failed"))

    collect()
    assert replies.construct() == ""


@pytest.mark.parametrize("reason", Reason)
def test_how_a_sandbox_ended_decides_the_code(reason: Reason) -> None:
    error = why_not(SandboxStatus(sandbox_id="a", state=State.STOPPED, reason=reason, message="so it was"))
    code = json.loads(failed(error, message=None))["result"]["code"]
    assert code == {Family.BAD_REQUEST: 4000, Family.INTERNAL: 5000, Family.COMMAND: 6000}[REASONS[reason].family]


def test_an_unplaced_sandbox_has_the_gateways_name_and_address() -> None:
    pending = SandboxStatus(sandbox_id="a", state=State.PENDING)
    for reply in (render_start(pending, GATEWAY), render_status(pending, GATEWAY)):
        assert (reply["host_name"], reply["host_ip"]) == GATEWAY


def test_while_nothing_is_known_every_phase_waits() -> None:
    waiting = {"status": "waiting", "message": "waiting"}
    status = render_status(SandboxStatus(sandbox_id="a", state=State.PENDING), GATEWAY)["status"]
    assert status == {"placement": waiting, "image_pull": waiting, "docker_run": waiting}


def test_a_phase_that_failed_is_found_by_rocks_client() -> None:
    phases = {
        "placement": PhaseStatus(status=Phase.SUCCESS),
        "image_pull": PhaseStatus(status=Phase.FAILED, message="no such image"),
    }
    status = render_status(SandboxStatus(sandbox_id="a", state=State.STOPPED, phases=phases), GATEWAY)["status"]
    assert [name for name, phase in status.items() if phase["status"] == "failed"] == ["image_pull"]
    assert status["image_pull"]["message"] == "no such image"


def test_who_does_not_answer_is_not_alive() -> None:
    silent = SandboxStatus(sandbox_id="a", state=State.RUNNING, warnings=[SILENT])
    assert render_status(silent, GATEWAY)["is_alive"] is False


def test_a_cut_is_told_beside_the_output_and_never_in_it() -> None:
    seen = render_observation(RUN, Observation(output="ab", exit_code=0, cut_bytes=7))
    assert (seen["output"], "7 bytes were cut" in seen["failure_reason"]) == ("ab", True)


def test_a_timeout_is_an_error_with_what_was_printed() -> None:
    with pytest.raises(CommandTimeout, match=r"(?s)while running command 'x'.*'so far'"):
        render_observation(RUN, Observation(output="so far", timed_out=True))


def test_a_status_is_an_error_if_the_request_wants_it() -> None:
    request = msgspec.structs.replace(RUN, check="raise", error_msg="it broke")
    with pytest.raises(CommandFailed, match="it broke: Command 'x' failed with exit code 3") as caught:
        render_observation(request, Observation(output="", exit_code=3, failure_reason="oom"))
    assert caught.value.details["exit_code"] == 3
    assert caught.value.message.endswith("oom")


def test_of_an_enormous_output_an_error_repeats_the_end() -> None:
    request = msgspec.structs.replace(RUN, check="raise")
    with pytest.raises(CommandFailed) as caught:
        render_observation(request, Observation(output="x" * 2**22 + "the end", exit_code=1))
    assert len(caught.value.message) < 2**21
    assert caught.value.message.endswith("the end'")


def test_what_ended_a_program_stands_behind_its_stderr() -> None:
    output = CommandOutput(stdout="out", stderr="err\n", failure_reason="timed out after 1 s")
    assert render_execution(EXECUTE, output) == {"stdout": "out", "stderr": "err\ntimed out after 1 s", "exit_code": -1}


def test_a_syntax_error_has_the_words_that_clients_look_for() -> None:
    error = syntax_error(RUN, "/usr/bin/bash: line 1: syntax error near unexpected token `done'\n")
    assert "Error (exit code 2) while checking bash command \n'x'" in error.message
    assert "/bin/bash: line 1: " in error.message
