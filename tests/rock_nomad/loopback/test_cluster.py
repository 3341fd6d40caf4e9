"""Real agents: killed, started again, and what is left of them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rock_nomad.loopback.cluster import Description
from rock_nomad.loopback.leftovers import sweep
from rock_nomad.loopback.places import claim_place
from tests.cgroups import find_cgroups
from tests.cluster import Cluster, run_cluster
from tests.processes import pids_naming

pytestmark = [pytest.mark.slow, pytest.mark.needs("real agents")]


def sleeper(job_id: str) -> dict[str, Any]:
    """A job whose one process runs until it is stopped."""
    task = {
        "Name": "sleep",
        "Driver": "raw_exec",
        "Config": {"command": "sleep", "args": ["600"]},
        "Resources": {"CPU": 50, "MemoryMB": 32},
    }
    return {
        "ID": job_id,
        "Type": "batch",
        "Datacenters": ["*"],
        "TaskGroups": [
            {
                "Name": "group",
                "Tasks": [task],
                "RestartPolicy": {"Attempts": 0, "Mode": "fail"},
                "Disconnect": {"Replace": False, "LostAfter": 3600_000_000_000},
            }
        ],
    }


def run(cluster: Cluster, job_id: str) -> str:
    """The id of a job's allocation that runs."""
    assert cluster.nomad("PUT", "/v1/jobs", {"Job": sleeper(job_id)}).status == 200
    rows = cluster.wait_for(f"/v1/job/{job_id}/allocations", lambda rows: rows and rows[0]["ClientStatus"] == "running")
    return str(rows[0]["ID"])


def test_a_client_that_was_killed_finds_its_tasks_again(cluster: Cluster) -> None:
    alloc_id = run(cluster, "killed-client")
    tasks = pids_naming(alloc_id)
    [node] = cluster.nodes
    before = node.find_process_id()
    node.kill()
    assert node.find_process_id() is None
    assert pids_naming(alloc_id) == tasks
    node.start()
    assert node.find_process_id() not in (None, before)
    cluster.nomad("DELETE", "/v1/job/killed-client")
    cluster.wait_for(f"/v1/allocation/{alloc_id}", lambda row: row["ClientStatus"] == "complete")


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_servers_that_were_ended_know_what_they_knew(cluster: Cluster, end: str) -> None:
    alloc_id = run(cluster, f"servers-{end}")
    assert cluster.consul("PUT", f"/v1/kv/{end}", b"kept").status == 200
    for server in (cluster.server, cluster.consul_server):
        getattr(server, end)()
        server.start()
    assert cluster.consul("GET", f"/v1/kv/{end}?consistent").data[0]["Key"] == end
    cluster.wait_for(f"/v1/allocation/{alloc_id}", lambda row: row["ClientStatus"] == "running")
    cluster.nomad("DELETE", f"/v1/job/servers-{end}?purge=true")


@pytest.mark.needs(nodes=2)
def test_two_nodes_run_side_by_side(cluster: Cluster) -> None:
    rows = {row["ID"]: row for row in cluster.nomad("GET", "/v1/nodes").data}
    assert {node.node_id: node.name for node in cluster.nodes} == {row: rows[row]["Name"] for row in rows}
    assert {row["Status"] for row in rows.values()} == {"ready"}


def test_the_end_of_its_owners_stdin_leaves_nothing() -> None:
    with run_cluster("real") as cluster:
        alloc_id = run(cluster, "left")
        assert pids_naming(alloc_id)
        assert find_cgroups(f"{alloc_id}.*")
    assert not pids_naming(alloc_id)
    assert not find_cgroups(f"{alloc_id}.*")
    assert alloc_id not in Path("/proc/self/mounts").read_text()


def test_what_a_killed_owner_left_can_be_swept() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "rock_nomad.loopback", "{}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        description = msgspec.json.decode(owner.stdout.readline(), type=Description)
        owner.send_signal(signal.SIGKILL)
    assert pids_naming(description.folder) >= set(description.process_ids.values())
    with claim_place():  # as the next cluster does
        assert not pids_naming(description.folder)
    sweep(Path(description.folder))
    assert not Path(description.folder).exists()
