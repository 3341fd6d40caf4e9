from __future__ import annotations

import json
import secrets

import pytest

from tests.clis import SMALL, Dev

pytestmark = pytest.mark.slow


def test_every_way_to_a_sandbox_is_measured_and_nothing_is_left_in_it(dev: Dev) -> None:
    sandbox = f"measured-{secrets.token_hex(2)}"
    dev.rock_nomad("submit", *SMALL, "--id", sandbox)
    ran = dev.rock_nomad("bench", sandbox, "--rounds", "1", "-o", "json", timeout=200)
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(ran.stdout)
    assert {(row["what"], row["sessions"]) for row in rows if row["way"] == "client"} == {
        ("command", 1),
        ("command", 8),
        ("command", 32),
    }
    assert {row["way"] for row in rows} == {"direct", "gateway", "client"}
    assert all(0 < row["p50_ms"] <= row["p99_ms"] and row["calls_per_second"] > 0 for row in rows)
    script = f"ls /tmp/rock-nomad-bench-{sandbox} 2>&-; cat /proc/$PPID/task/*/children | wc -w"
    assert dev.rock_nomad("exec", sandbox, "--shell", "--", script).stdout == "1\n"  # the script's own shell
    dev.rock_nomad("stop", sandbox)


def test_a_sandbox_that_is_not_there_cannot_be_measured(dev: Dev) -> None:
    ran = dev.rock_nomad("bench", "nowhere")
    assert ran.returncode == 2
    assert "nowhere" in ran.stderr
