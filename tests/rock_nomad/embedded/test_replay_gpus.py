"""The recorded failures of jobs that ask for GPUs, run live on both kinds of cluster, with sick ones among them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gpus import A10G, A10GS, H100, H100S, Gpus
from tests.rock_nomad.embedded import recordings
from tests.rock_nomad.embedded.recordings import compare

pytestmark = pytest.mark.slow

_LIVE = ("pending", "running")
_MEMORY = {"LTarget": "${device.attr.memory}", "Operand": ">=", "RTarget": "200 GiB"}


@contextlib.contextmanager
def _registered(gpus: Gpus, job_id: str, **device: object) -> Iterator[dict[str, Any]]:
    """A job that asks for devices, while the block lasts; yields the evaluation of its registration."""
    job = recordings.job(job_id, Driver="mock_driver", Config={"run_for": "600s"})
    (group,) = job["TaskGroups"]
    (task,) = group["Tasks"]
    group["Name"], task["Name"], group["Services"] = "g", "t", None  # as recorded
    task["Resources"]["Devices"] = [{"Name": "nvidia/gpu", "Count": 1, "Constraints": None, **device}]
    body = {"Job": job, "EnforceIndex": True, "JobModifyIndex": 0}
    reply = gpus.cluster.nomad("POST", f"/v1/job/{job_id}", body)
    assert reply.status == 200, reply.data
    path = f"/v1/evaluation/{reply.data['EvalID']}"
    try:
        yield gpus.cluster.wait_for(path, lambda row: row["Status"] == "complete")
    finally:
        gpus.cluster.nomad("DELETE", f"/v1/job/{job_id}?purge=true")


@pytest.mark.parametrize(
    ("recorded", "taken", "device"),
    [
        ("gpu-eval-exhausted", 3, {}),
        ("gpu-eval-span-groups", 0, {"Count": 3}),
        ("gpu-eval-missing-too-many", 0, {"Count": 4}),
        ("gpu-eval-missing-model", 0, {"Name": "nvidia/gpu/NVIDIA B200"}),
        ("gpu-eval-missing-vendor", 0, {"Name": "amd/gpu"}),
        ("gpu-eval-missing-memory", 0, {"Constraints": [_MEMORY]}),
    ],
)
def test_what_cannot_be_given_reads_as_recorded(gpus: Gpus, recorded: str, taken: int, device: dict[str, Any]) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(taken):
            assert "FailedTGAllocs" not in stack.enter_context(_registered(gpus, f"taker-{number}"))
        evaluation = stack.enter_context(_registered(gpus, recorded, **device))
        assert compare(recordings.load(recorded), evaluation) == []
    gpus.cluster.wait_for("/v1/allocations", lambda rows: all(row["ClientStatus"] not in _LIVE for row in rows))


def test_all_sick_reads_as_recorded_and_is_placed_when_one_is_well(gpus: Gpus) -> None:
    gpus.make_sick(**{A10GS[0].replace("-", "_"): "XID 79"})
    with _registered(gpus, "all-sick", Name=f"nvidia/gpu/{A10G}") as evaluation:
        assert compare(recordings.load("gpu-eval-all-unhealthy"), evaluation) == []
        blocked = gpus.cluster.nomad("GET", f"/v1/evaluation/{evaluation['BlockedEval']}").data
        assert set(blocked["ClassEligibility"].values()) == {False}
        gpus.make_sick()
        gpus.cluster.wait_for("/v1/job/all-sick/allocations", lambda rows: bool(rows))


def test_some_sick_and_the_others_taken_reads_as_recorded(gpus: Gpus) -> None:
    gpus.make_sick(**{H100S[0].replace("-", "_"): "XID 79"})
    with _registered(gpus, "taker", Name=f"nvidia/gpu/{H100}") as placed:
        assert "FailedTGAllocs" not in placed
        with _registered(gpus, "waiter", Name=f"nvidia/gpu/{H100}") as evaluation:
            assert compare(recordings.load("gpu-eval-exhausted-by-unhealthy"), evaluation) == []
