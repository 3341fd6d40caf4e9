from __future__ import annotations

from pathlib import Path

import pytest

from rock._sandbox import Sandbox

pytestmark = pytest.mark.slow  # a real rocklet


async def test_a_script_runs_as_a_file_that_is_gone_afterwards(sandbox: Sandbox) -> None:
    observation = await sandbox.process.execute_script('#!/bin/bash\necho "$0"\nexit 6\n')
    assert observation.exit_code == 6
    assert observation.output.startswith("/tmp/script_")
    assert not Path(observation.output).exists()


async def test_a_script_may_be_named_and_kept(sandbox: Sandbox) -> None:
    observation = await sandbox.process.execute_script("echo $0", script_name="rock kept.sh", cleanup=False)
    kept = Path("/tmp/rock kept.sh")
    assert (observation.output, kept.read_text()) == (str(kept), "echo $0")
    kept.unlink()


async def test_a_script_that_cannot_be_written_is_not_run(sandbox: Sandbox) -> None:
    observation = await sandbox.process.execute_script("true", script_name="../tmp")
    assert (observation.exit_code, observation.failure_reason) == (1, "Script upload failed")
