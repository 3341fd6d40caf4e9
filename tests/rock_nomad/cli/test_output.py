import json

import pytest

from rock.wire.messages import SandboxStatus, State
from rock.wire.reasons import Reason
from rock_nomad.cli.output import Format, Progress, describe, print_sandboxes


def _status(**facts: object) -> SandboxStatus:
    return SandboxStatus(**{"sandbox_id": "a", "state": State.RUNNING, **facts})  # type: ignore[arg-type] # a mixed bag


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (_status(node="n1"), "sandbox a is running on n1"),
        (_status(state=State.PENDING, message="1 of 1 nodes full"), "sandbox a is pending: 1 of 1 nodes full"),
        (
            _status(state=State.STOPPED, reason=Reason.IDLE),
            "sandbox a has stopped (idle): it was idle for longer than its idle timeout. "
            "Raise idle_timeout (auto_clear_seconds), or act more often.",
        ),
        (_status(state=State.STOPPED), "sandbox a has stopped; the evidence of why is gone"),
    ],
)
def test_a_sandbox_is_described_in_a_sentence(status: SandboxStatus, sentence: str) -> None:
    assert describe(status) == sentence


def test_a_listing_for_programs_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_sandboxes([_status()], Format.JSON)
    assert json.loads(capsys.readouterr().out)[0]["sandbox_id"] == "a"


def test_an_empty_listing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_sandboxes([], Format.TABLE)
    assert capsys.readouterr() == ("", "no sandboxes\n")


def test_progress_is_told_once_for_each_change_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        for said in ("it waits", "it waits", "it starts"):
            progress.show(said)
            progress.update("a detail")
    assert capsys.readouterr() == ("", "it waits\nit starts\n")
