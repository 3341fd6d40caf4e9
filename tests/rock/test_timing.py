from __future__ import annotations

import asyncio
import logging
import re
import signal
import time

import pytest

from rock._timing import StageTimer, Timer, timeout, with_time_logging


def test_a_timer_prints_and_a_stage_is_logged(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with Timer("work"):
        pass
    assert re.fullmatch(r"work took 0\.\d{3} s\n", capsys.readouterr().out)
    with caplog.at_level(logging.INFO), StageTimer("start", "pull", logging.getLogger("x")):
        pass
    assert re.fullmatch(r"\[start\] pull took 0\.\d{3} s", caplog.messages[0])


@with_time_logging("adding")
async def _add(one: int, other: int) -> int:
    return one + other


@with_time_logging("failing")
def _fail() -> None:
    raise ValueError("no")


def test_calls_are_logged_with_their_ends(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger=__name__):
        assert asyncio.run(_add(1, 2)) == 3
        with pytest.raises(ValueError, match="no"):
            _fail()
    ours = [record.getMessage() for record in caplog.records if record.name == __name__]
    expected = ["adding started", "adding completed", "failing started", "failing failed"]
    assert [message.partition(" (")[0] for message in ours] == expected


def test_a_block_that_takes_too_long_is_ended_and_nothing_rings_later() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeoutError, match=r"0\.01"), timeout(0.01):
        time.sleep(5)
    with timeout(30):
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) is before
