from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rock.wire.errors import IdInUse, StartFailed
from rock.wire.messages import CreateSandboxRequest, SandboxStatus, State
from rock.wire.operations import Operation
from rock.wire.reasons import Reason
from rock_nomad.gateway.dialects.starts import started

CREATE = CreateSandboxRequest(on_abandoned="stop")


class Script:
    """Performs by answering with what stands here, in order; None waits for ever."""

    def __init__(self, *answers: State | Exception | None) -> None:
        self.answers = list(answers)
        self.calls: list[str] = []

    async def __call__(self, operation: Operation[Any, Any], *_: object, **__: object) -> Any:  # noqa: ANN401 - Perform's
        self.calls.append(operation.name)
        answer = State.STOPPED if operation.name == "stop_sandbox" else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        reason = Reason.NO_CAPACITY if answer is State.STOPPED else None
        return SandboxStatus(sandbox_id="s", state=answer or State.PENDING, reason=reason)


async def test_it_is_waited_for_until_it_runs() -> None:
    script = Script(State.PENDING, State.PENDING, State.RUNNING)
    async with started(script, CREATE) as status:
        assert (status.sandbox_id, status.state) == ("s", State.RUNNING)
    assert script.calls == ["create_sandbox", "get_sandbox", "get_sandbox"]


async def test_one_that_ends_instead_says_why() -> None:
    script = Script(State.PENDING, State.STOPPED)
    with pytest.raises(StartFailed):
        async with started(script, CREATE):
            pass
    assert script.calls[-1] == "stop_sandbox"


async def test_what_was_never_begun_is_not_stopped() -> None:
    script = Script(IdInUse("taken"))
    with pytest.raises(IdInUse):
        async with started(script, CREATE):
            pass
    assert script.calls == ["create_sandbox"]


async def test_whoever_gives_up_while_it_waits_leaves_nothing() -> None:
    script = Script(State.PENDING, None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), started(script, CREATE):
            pass
    assert script.calls == ["create_sandbox", "get_sandbox", "stop_sandbox"]


async def test_what_fails_with_it_takes_it_along() -> None:
    script = Script(State.RUNNING)
    with pytest.raises(ZeroDivisionError):
        async with started(script, CREATE):
            raise ZeroDivisionError
    assert script.calls == ["create_sandbox", "stop_sandbox"]
