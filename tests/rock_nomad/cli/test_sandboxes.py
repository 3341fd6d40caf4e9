import json
from pathlib import Path

import pytest

from tests.clis import Dev

pytestmark = pytest.mark.slow

SMALL = ("--image", "python:3.11", "--memory", "64m", "--cpus", "0.05", "--disk", "32m")


def test_a_sandbox_from_submit_to_why(dev: Dev) -> None:
    submitted = dev.rock_nomad("submit", *SMALL, "--id", "walk", "--env", "COLOUR=red")
    assert (submitted.returncode, submitted.stdout) == (0, "walk\n")
    assert "is running" in submitted.stderr
    ran = dev.rock_nomad("exec", "walk", "--shell", "--", 'echo "$COLOUR"; echo oops >&2; exit 3')
    assert (ran.returncode, ran.stdout, ran.stderr) == (3, "red\n", "oops\n")
    status = json.loads(dev.rock_nomad("status", "walk", "-o", "json").stdout)
    assert (status["state"], status["observed_by"]) == ("running", "rocklet")
    assert "rocklet" not in status
    assert "walk" in dev.rock_nomad("ls", "--state", "running").stdout
    stopped = dev.rock_nomad("stop", "walk")
    assert (stopped.returncode, "stopped (user)" in stopped.stderr) == (0, True)
    why = dev.rock_nomad("why", "walk")
    assert "it was stopped by request" in why.stdout
    assert json.loads(dev.rock_nomad("why", "walk", "-o", "json").stdout)["family"] == "bad_request"


def test_a_listing_is_json_for_programs(dev: Dev) -> None:
    dev.rock_nomad("submit", *SMALL, "--id", "listed")
    rows = json.loads(dev.rock_nomad("ls", "-o", "json").stdout)
    assert [row["state"] for row in rows if row["sandbox_id"] == "listed"] == ["running"]
    dev.rock_nomad("stop", "listed")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("submit",), "name a request file, or an image with --image"),
        (("submit", "jobspecs/examples/hello.yaml", "--cpus", "1"), "leave out cpus"),
        (("submit", "nowhere.yaml"), "nowhere.yaml: No such file or directory"),
        (("submit", "--image", "x", "--memory", "lots"), "invalid size 'lots'"),
        (("submit", "--image", "x", "--env", "A"), "write NAME=VALUE"),
        (("submit", "--image", "x", "--id", "BIG"), "sandbox_id is 'BIG'"),
        (("submit", "--image", "x", "--memory", "900g"), "asked 900 GB"),
        (("submit", "--image", "x", "--gpus", "1", "--gpu-type", "B200"), "NVIDIA H100 80GB HBM3"),
        (("status", "nobody"), "there is no sandbox nobody"),
        (("exec", "nobody", "--", "true"), "there is no sandbox nobody"),
        (("stop", "nobody"), "there is no sandbox nobody"),
    ],
)
def test_a_wrong_call_is_explained_and_ends_with_2(dev: Dev, arguments: tuple[str, ...], complaint: str) -> None:
    ran = dev.rock_nomad(*arguments)
    assert ran.returncode == 2
    assert complaint in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_folder_without_requests_is_named(dev: Dev, tmp_path: Path) -> None:
    ran = dev.rock_nomad("submit", str(tmp_path))
    assert (ran.returncode, f"{tmp_path} holds no request files" in ran.stderr) == (2, True)
