"""Sessions through the whole rocklet: what users see."""

from __future__ import annotations

from tests.rocklet.callers import Caller


async def test_output_and_exit_code_come_back(bash: Caller) -> None:
    done = await bash.run("echo hi; false")
    assert (done.output, done.exit_code) == ("hi\n", 1)
