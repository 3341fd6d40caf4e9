import pytest

from rock.wire.errors import NotReady, RockException, SandboxDied, SandboxEnded, SandboxUnreachable, StartFailed
from rock.wire.messages import SandboxStatus, State
from rock.wire.reasons import REASONS, Family, Reason
from rock_nomad.gateway.errors import not_found, why_not


@pytest.mark.parametrize("reason", list(Reason))
def test_how_a_sandbox_ended_is_an_error_of_the_reasons_family_with_its_remedy(reason: Reason) -> None:
    error = why_not(SandboxStatus(sandbox_id="a", state=State.STOPPED, reason=reason, message="it is so"))
    assert error.family is REASONS[reason].family
    assert error.reason is reason
    assert "it is so" in error.message
    assert REASONS[reason].remedy in error.message
    expected = {Family.BAD_REQUEST: SandboxEnded, Family.INTERNAL: StartFailed, Family.COMMAND: SandboxDied}
    assert type(error) is expected[error.family]


@pytest.mark.parametrize(
    ("state", "expected"),
    [(State.PENDING, NotReady), (State.RUNNING, SandboxUnreachable), (State.STOPPED, SandboxEnded)],
)
def test_without_a_reason_the_state_decides(state: State, expected: type[RockException]) -> None:
    assert type(why_not(SandboxStatus(sandbox_id="a", state=state))) is expected


def test_an_unknown_sandbox_is_named() -> None:
    assert not_found("a").details == {"sandbox_id": "a"}
