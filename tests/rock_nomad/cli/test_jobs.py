import json

import pytest

from tests.clis import Dev

pytestmark = pytest.mark.slow


def test_render_prints_the_job_and_registers_nothing(dev: Dev) -> None:
    ran = dev.rock_nomad("render", "jobspecs/examples/gpu.yaml")
    job = json.loads(ran.stdout)
    assert job["Type"] == "batch"
    device = job["TaskGroups"][0]["Tasks"][0]["Resources"]["Devices"][0]
    assert (device["Name"], device["Count"]) == ("nvidia/gpu", 1)
    assert job["ID"] not in dev.rock_nomad("ls").stdout


def test_plan_says_whether_it_fits(dev: Dev) -> None:
    assert dev.rock_nomad("plan", "jobspecs/examples/gpu.yaml").stdout == "it fits now\n"
    assert json.loads(dev.rock_nomad("plan", "jobspecs/examples/gpu.yaml", "-o", "json").stdout)["fits"] is True
