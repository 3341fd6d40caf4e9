"""Each recorded scenario, run live: the same keys and types, the same values in SAME_FIELDS.

Then with other numbers, which must show in the answers: nothing is canned.  Both on every kind of cluster.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rock_nomad.embedded.differences import fields_not_compared
from tests.cluster import Cluster
from tests.engine import Engine
from tests.rock_nomad.embedded import recordings
from tests.rock_nomad.embedded.recordings import compare

pytestmark = pytest.mark.slow

Job = dict[str, Any]
SECOND = 1_000_000_000
SERVER = ["python3", "-m", "http.server", "--bind", "127.0.0.1", "${NOMAD_PORT_rocklet}"]
_SLEEP = {"command": "/bin/sleep", "args": ["600"]}


@contextmanager
def registered(cluster: Cluster, job: Job) -> Iterator[Job]:
    """A job while the block lasts; yields the reply to its registration."""
    body = {"Job": job, "EnforceIndex": True, "JobModifyIndex": 0}
    reply = cluster.nomad("POST", f"/v1/job/{job['ID']}", body)
    assert reply.status == 200, reply.data
    try:
        yield reply.data
    finally:
        cluster.nomad("DELETE", f"/v1/job/{job['ID']}")


def bare_job(job_id: str, **task: object) -> Job:
    """The recorded job without its service: what most recordings were made with."""
    job = recordings.job(job_id, **task)
    job["TaskGroups"][0]["Services"] = None
    return job


def with_resources(job: Job, **fields: object) -> Job:
    job["TaskGroups"][0]["Tasks"][0]["Resources"] |= fields
    return job


def wait_allocation(cluster: Cluster, job_id: str, status: str) -> Job:
    path = f"/v1/job/{job_id}/allocations"
    return next(iter(cluster.wait_for(path, lambda rows: bool(rows) and rows[0]["ClientStatus"] == status)))


def wait_evaluation(cluster: Cluster, evaluation_id: str) -> Job:
    evaluation: Job = cluster.wait_for(f"/v1/evaluation/{evaluation_id}", lambda row: row["Status"] == "complete")
    return evaluation


NewId = Callable[[str], str]


def test_a_running_job_reads_as_recorded(cluster: Cluster, new_id: NewId) -> None:
    job_id = new_id("run")
    with registered(cluster, recordings.job(job_id)) as reply:
        running = wait_allocation(cluster, job_id, "running")
        allocation = cluster.nomad("GET", f"/v1/allocation/{running['ID']}").data
        assert compare(recordings.load("alloc-running"), allocation) == []
        assert compare(recordings.load("job-running"), cluster.nomad("GET", f"/v1/job/{job_id}").data) == []
        evaluation = wait_evaluation(cluster, reply["EvalID"])
        assert compare(recordings.load("eval-placed"), evaluation) == []
        assert compare(recordings.load("job-evals"), cluster.nomad("GET", f"/v1/job/{job_id}/evaluations").data) == []
        assert compare(recordings.load("job-summary"), cluster.nomad("GET", f"/v1/job/{job_id}/summary").data) == []
        ports = allocation["AllocatedResources"]["Shared"]["Ports"]
        assert [port["Label"] for port in ports] == ["rocklet"]
        node = cluster.nomad("GET", f"/v1/node/{allocation['NodeID']}").data["NodeResources"]
        assert node["MinDynamicPort"] <= ports[0]["Value"] <= node["MaxDynamicPort"]


def test_a_job_keeps_its_own_numbers(cluster: Cluster, new_id: NewId) -> None:
    job_id = new_id("own")
    job = with_resources(bare_job(job_id, Config=_SLEEP, KillTimeout=3 * SECOND), CPU=17, MemoryMB=33)
    job["TaskGroups"][0] |= {"MaxRunDuration": 77 * SECOND, "EphemeralDisk": {"SizeMB": 21}}
    with registered(cluster, job):
        running = wait_allocation(cluster, job_id, "running")
        allocation = cluster.nomad("GET", f"/v1/allocation/{running['ID']}").data
        group = allocation["Job"]["TaskGroups"][0]
        assert allocation["TaskResources"]["rocklet"]["CPU"] == 17
        assert allocation["AllocatedResources"]["Tasks"]["rocklet"]["Memory"]["MemoryMB"] == 33
        assert allocation["SharedResources"]["DiskMB"] == 21
        assert group["MaxRunDuration"] == 77 * SECOND
        assert group["Tasks"][0]["KillTimeout"] == 3 * SECOND
        assert allocation["Job"]["Meta"] == {"sandbox_id": job_id}


def test_the_service_of_a_running_job_reads_as_recorded(cluster: Cluster, new_id: NewId) -> None:
    job_id = new_id("svc")
    with registered(cluster, recordings.job(job_id)):
        index, rows = 0, list[Job]()
        while not rows or rows[0]["Checks"][1]["Status"] != "passing":
            reply = cluster.consul("GET", f"/v1/health/service/rocklet-{job_id}?index={index}&wait=10s")
            index, rows = int(reply.headers["x-consul-index"]), reply.data
        # Output is what the task answered, and ServiceTags of the node's own check vary with nothing.
        assert compare(recordings.load("consul-health"), rows) == []
        assert rows[0]["Service"]["Meta"]["sandbox_id"] == job_id
        with urllib.request.urlopen(f"http://127.0.0.1:{rows[0]['Service']['Port']}/") as answer:
            assert answer.status == 200


def test_a_stopped_job_reads_as_recorded(cluster: Cluster, new_id: NewId) -> None:
    job_id = new_id("stop")
    # The recorded server ended with 0 on SIGINT; a shell that says so needs no luck with the moment.
    quiet = {"command": "/bin/sh", "args": ["-c", "trap 'exit 0' INT; while :; do sleep 0.05; done"]}
    with registered(cluster, bare_job(job_id, Config=quiet)):
        wait_allocation(cluster, job_id, "running")
        reply = cluster.nomad("DELETE", f"/v1/job/{job_id}")
        assert (reply.status, bool(reply.data["EvalID"])) == (200, True)
        wait_allocation(cluster, job_id, "complete")
        rows = cluster.nomad("GET", f"/v1/job/{job_id}/allocations").data
        assert compare(recordings.load("alloc-stopped"), rows) == []


@pytest.mark.parametrize(
    ("recording", "shell", "status"),
    [("allocs-exit0", "sleep 0.3", "complete"), ("allocs-exit3", "exit 3", "failed")],
)
def test_an_ended_task_reads_as_recorded(
    cluster: Cluster, new_id: NewId, recording: str, shell: str, status: str
) -> None:
    job_id = new_id("exit")
    with registered(cluster, bare_job(job_id, Config={"command": "/bin/sh", "args": ["-c", shell]})):
        wait_allocation(cluster, job_id, status)
        rows = cluster.nomad("GET", f"/v1/job/{job_id}/allocations").data
        assert compare(recordings.load(recording), rows) == []


@pytest.mark.parametrize(
    ("shell", "display", "code", "signal"),
    [("exit 7", "Exit Code: 7", 7, 0), ("kill -9 $$", "Exit Code: 137, Signal: 9", 137, 9)],
)
def test_an_exit_is_the_tasks_own(
    cluster: Cluster, new_id: NewId, shell: str, display: str, code: int, signal: int
) -> None:
    job_id = new_id("code")
    with registered(cluster, bare_job(job_id, Config={"command": "/bin/sh", "args": ["-c", shell]})):
        events = wait_allocation(cluster, job_id, "failed")["TaskStates"]["rocklet"]["Events"]
        terminated = next(event for event in events if event["Type"] == "Terminated")
        assert (terminated["DisplayMessage"], terminated["ExitCode"], terminated["Signal"]) == (display, code, signal)


@pytest.mark.parametrize("command", ["/no/such", "no-such-command"])
def test_a_missing_command_reads_as_recorded(cluster: Cluster, new_id: NewId, command: str) -> None:
    job_id = new_id("nocmd")
    with registered(cluster, bare_job(job_id, Config={"command": command})):
        wait_allocation(cluster, job_id, "failed")
        rows = cluster.nomad("GET", f"/v1/job/{job_id}/allocations").data
    recorded = json.loads(json.dumps(recordings.load("allocs-nocmd")).replace("/no/such", command))
    assert compare(recorded, rows) == []


def test_a_file_that_is_no_program_fails_in_nomads_words(cluster: Cluster, new_id: NewId) -> None:
    job_id = new_id("noexec")
    with registered(cluster, bare_job(job_id, Config={"command": "/etc/passwd"})):
        events = wait_allocation(cluster, job_id, "failed")["TaskStates"]["rocklet"]["Events"]
    assert (
        events[2]["DriverError"]
        == (
            "failed to launch command with executor: rpc error: code = Unknown desc = failed to start command "
            'path="/etc/passwd" --- args=["/etc/passwd"]: fork/exec /etc/passwd: exec format error'
        )
        or "permission denied" in events[2]["DriverError"]
    )


def _is_dead(rows: list[Job]) -> bool:
    return bool(rows) and ((rows[0]["TaskStates"] or {}).get("rocklet") or {}).get("State") == "dead"


@pytest.mark.parametrize("seconds", [3, 4])  # from its creation on: time enough to start in, on a machine under load
def test_an_overrun_allocation_reads_as_recorded(cluster: Cluster, new_id: NewId, seconds: int) -> None:
    job_id = new_id("maxrun")
    job = bare_job(job_id, Config=_SLEEP)
    job["TaskGroups"][0]["MaxRunDuration"] = seconds * SECOND
    with registered(cluster, job):
        # A real client says that the allocation is complete before its task has ended.
        path = f"/v1/job/{job_id}/allocations"
        rows = cluster.wait_for(path, lambda rows: _is_dead(rows) and rows[0]["ClientStatus"] == "complete")
    assert compare(recordings.load("allocs-maxrun"), rows) == []
    killing = rows[0]["TaskStates"]["rocklet"]["Events"][3]
    assert 0 <= killing["Time"] - rows[0]["CreateTime"] - seconds * SECOND < SECOND


def too_much_memory(job: Job) -> Job:
    return with_resources(job, MemoryMB=900_000)


def too_much_cpu(job: Job) -> Job:
    return with_resources(job, CPU=100_000)


def unknown_driver(job: Job) -> Job:
    job["TaskGroups"][0]["Tasks"][0]["Driver"] = "nodriver"
    return job


def a_gpu(job: Job) -> Job:
    return with_resources(job, Devices=[{"Name": "nvidia/gpu", "Count": 1}])


def a_runtime(job: Job) -> Job:
    target = {"LTarget": "${attr.driver.docker.runtimes}", "Operand": "set_contains", "RTarget": "runsc"}
    return {**job, "Constraints": [target]}


@pytest.mark.parametrize(
    ("recording", "change"),
    [
        ("eval-bigmem", too_much_memory),
        ("eval-bigcpu", too_much_cpu),
        ("eval-nodriver", unknown_driver),
        ("eval-nogpu", a_gpu),
        ("eval-no-runtime", a_runtime),
    ],
)
def test_what_cannot_be_placed_reads_as_recorded(
    cluster: Cluster, new_id: NewId, recording: str, change: Callable[[Job], Job]
) -> None:
    job = change(bare_job(new_id("no")))
    recorded = recordings.load(recording)
    with registered(cluster, job) as reply:
        evaluation = wait_evaluation(cluster, reply["EvalID"])
        assert compare(recorded, evaluation) == []
        exhausted = recorded["FailedTGAllocs"]["sandbox"]["ResourcesExhausted"]
        assert evaluation["FailedTGAllocs"]["sandbox"]["ResourcesExhausted"] == exhausted
        blocked = cluster.nomad("GET", f"/v1/evaluation/{evaluation['BlockedEval']}").data
        # Which resource was short is this scenario's; the rest of a blocked evaluation is the recorded one's.
        assert compare(recordings.load("eval-blocked"), blocked, ignore=frozenset({"FailedTGAllocs"})) == []
        assert cluster.nomad("GET", f"/v1/job/{job['ID']}").data["Status"] == "pending"


def test_what_is_asked_too_much_is_named(cluster: Cluster, new_id: NewId) -> None:
    job = with_resources(bare_job(new_id("much")), MemoryMB=800_001)
    with registered(cluster, job) as reply:
        failed = wait_evaluation(cluster, reply["EvalID"])["FailedTGAllocs"]["sandbox"]
        assert failed["ResourcesExhausted"]["rocklet"]["MemoryMB"] == 800_001


@contextmanager
def most_memory_taken(cluster: Cluster, new_id: NewId) -> Iterator[tuple[str, int]]:
    """Somebody who leaves room for no second one like it; yields (its job, what such a one asks for)."""
    node = cluster.nomad("GET", "/v1/nodes?resources=true").data[0]
    memory = node["NodeResources"]["Memory"]["MemoryMB"] - 2000
    job_id = new_id("big")
    job = with_resources(bare_job(job_id, Driver="mock_driver", Config={"run_for": "600s"}), MemoryMB=memory)
    with registered(cluster, job):
        wait_allocation(cluster, job_id, "running")
        yield job_id, memory


def test_a_plan_for_a_full_node_reads_as_recorded(cluster: Cluster, new_id: NewId) -> None:
    with most_memory_taken(cluster, new_id) as (_, memory):
        job = with_resources(bare_job(new_id("plan")), MemoryMB=memory)
        reply = cluster.nomad("POST", f"/v1/job/{job['ID']}/plan", {"Job": job, "Diff": False})
        assert compare(recordings.load("plan-exhausted"), reply.data) == []
        asked = reply.data["FailedTGAllocs"]["sandbox"]["ResourcesExhausted"]["rocklet"]["MemoryMB"]
        assert asked == memory
        assert cluster.nomad("GET", f"/v1/job/{job['ID']}").status == 404


def test_what_was_blocked_is_placed_when_room_comes(cluster: Cluster, new_id: NewId) -> None:
    with most_memory_taken(cluster, new_id) as (taker, memory):
        job = with_resources(bare_job(new_id("wait"), Driver="mock_driver", Config={"run_for": "9s"}), MemoryMB=memory)
        with registered(cluster, job) as reply:
            blocked_id = wait_evaluation(cluster, reply["EvalID"])["BlockedEval"]
            blocked = cluster.nomad("GET", f"/v1/evaluation/{blocked_id}").data
            assert compare(recordings.load("eval-blocked"), blocked) == []
            cluster.nomad("DELETE", f"/v1/job/{taker}")
            wait_allocation(cluster, job["ID"], "running")
            placed = json.loads(json.dumps(wait_evaluation(cluster, blocked_id)).replace('"sandbox"', '"g"'))
            assert compare(recordings.load("gpu-eval-unblocked"), placed) == []


def test_the_event_stream_tells_a_life_as_recorded(cluster: Cluster, new_id: NewId) -> None:
    job_id = new_id("life")
    everything = [event for batch in recordings.load("events") for event in batch["Events"]]
    recorded = [event for event in everything if "big1" in json.dumps(event)]
    request = urllib.request.Request(
        f"{cluster.nomad_url}/v1/event/stream?index=1&topic=Job:{job_id}&topic=Evaluation:{job_id}"
        f"&topic=Allocation:{job_id}",
        headers={"X-Nomad-Token": cluster.nomad_token},
    )
    job = bare_job(job_id, Driver="mock_driver", Config={"run_for": "600s"})
    job["TaskGroups"][0]["MaxRunDuration"] = None  # as recorded
    with urllib.request.urlopen(request, timeout=30) as stream:
        assert json.loads(stream.readline()) == {}
        with registered(cluster, job):
            wait_allocation(cluster, job_id, "running")
        seen: list[Job] = []
        while not seen or not is_last(seen[-1]):
            seen += json.loads(stream.readline()).get("Events", [])
    names = [(event["Topic"], event["Type"]) for event in recorded if event["Topic"] != "Node"]
    assert unique([(event["Topic"], event["Type"]) for event in seen])[: len(names)] == unique(names)
    # The recorded job had a service and another driver; a client may report before its task has started.
    ours = frozenset({"Config", "Services", "Constraints", "Type", "Status", "TaskStates"})
    ours |= {"ClientStatus", "ClientDescription"}
    first_seen, first_recorded = first_of_each(seen), first_of_each(recorded)
    for name in unique(names):
        assert compare(first_recorded[name], first_seen[name], ignore=ours) == []


def is_last(event: Job) -> bool:
    return (event["Type"], event["Topic"]) == ("EvaluationUpdated", "Job")


def first_of_each(events: list[Job]) -> dict[tuple[str, str], Job]:
    return {(event["Topic"], event["Type"]): event for event in reversed(events)}


def unique(names: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(names))


def test_listings_read_as_recorded(cluster: Cluster, new_id: NewId) -> None:
    job_id = new_id("list")
    with registered(cluster, bare_job(job_id, Driver="mock_driver", Config={"run_for": "600s"})):
        wait_allocation(cluster, job_id, "running")
        jobs = cluster.nomad("GET", f"/v1/jobs?prefix={job_id}&meta=true").data
        assert compare(recordings.load("jobs-list")[:1], jobs) == []
        assert jobs[0]["Meta"] == {"sandbox_id": job_id}
    # What differs is the machine's with the real one, too.
    nodes = cluster.nomad("GET", "/v1/nodes?resources=true").data
    assert compare(recordings.load("nodes"), nodes, ignore=fields_not_compared("nodes")) == []
    node = cluster.nomad("GET", f"/v1/node/{nodes[0]['ID']}").data
    assert compare(recordings.load("node"), node, ignore=fields_not_compared("node")) == []


def test_pages_of_a_listing_join_to_the_whole(cluster: Cluster, new_id: NewId) -> None:
    prefix = new_id("page")
    jobs = [bare_job(f"{prefix}-{n}", Driver="mock_driver", Config={"run_for": "600s"}) for n in range(5)]
    for job in jobs:
        cluster.nomad("POST", f"/v1/job/{job['ID']}", {"Job": job, "EnforceIndex": True, "JobModifyIndex": 0})
    seen, token = [], ""
    while True:
        reply = cluster.nomad("GET", f"/v1/jobs?prefix={prefix}&per_page=2&next_token={token}")
        seen += [row["ID"] for row in reply.data]
        if not (token := reply.headers.get("x-nomad-nexttoken", "")):
            break
    for job in jobs:
        cluster.nomad("DELETE", f"/v1/job/{job['ID']}")
    assert seen == [job["ID"] for job in jobs]


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"NodePool": "nope"}, 500, '1 error occurred:\n\t* job "{id}" is in nonexistent node pool "nope"\n\n'),
        ({"Namespace": "zz"}, 500, '1 error occurred:\n\t* job "{id}" is in nonexistent namespace "zz"\n\n'),
        ({"TaskGroups": []}, 500, "1 error occurred:\n\t* Missing job task groups\n\n"),
        ({"ID": "other"}, 400, "Job ID does not match name"),
        ({"NobodyKnowsThisKey": {"x": 1}}, 200, None),
    ],
)
def test_a_registration_is_refused_in_nomads_words(
    cluster: Cluster, new_id: NewId, change: Job, status: int, text: str | None
) -> None:
    job_id = new_id("bad")
    job = {**bare_job(job_id, Driver="mock_driver", Config={"run_for": "1s"}), **change}
    reply = cluster.nomad("POST", f"/v1/job/{job_id}", {"Job": job, "EnforceIndex": True, "JobModifyIndex": 0})
    cluster.nomad("DELETE", f"/v1/job/{job_id}")
    assert reply.status == status
    assert text is None or reply.data == text.replace("{id}", job_id)


@pytest.mark.parametrize(("body", "status"), [(b"{nope", 400), (b"", 400), (b"{}", 400), (b"[]", 400)])
def test_a_broken_body_is_400(cluster: Cluster, new_id: NewId, body: bytes, status: int) -> None:
    assert cluster.nomad("POST", f"/v1/job/{new_id('broken')}", body).status == status


def test_an_id_is_used_once_unless_its_last_index_is_given(cluster: Cluster, new_id: NewId) -> None:
    job_id = new_id("twice")
    job = bare_job(job_id, Driver="mock_driver", Config={"run_for": "600s"})
    with registered(cluster, job) as first:
        again = cluster.nomad("POST", f"/v1/job/{job_id}", {"Job": job, "EnforceIndex": True, "JobModifyIndex": 0})
        assert (again.status, again.data) == (500, "Enforcing job modify index 0: job already exists")
        wait_allocation(cluster, job_id, "running")
        stopped = cluster.nomad("DELETE", f"/v1/job/{job_id}").data["JobModifyIndex"]
        old = {"Job": job, "EnforceIndex": True, "JobModifyIndex": first["JobModifyIndex"]}
        refused = cluster.nomad("POST", f"/v1/job/{job_id}", old)
        assert refused.data == (
            f"Enforcing job modify index {first['JobModifyIndex']}: job exists with conflicting job modify index: "
            f"{stopped}"
        )
        wait_allocation(cluster, job_id, "complete")
        cluster.nomad("POST", f"/v1/job/{job_id}", {"Job": job, "EnforceIndex": True, "JobModifyIndex": stopped})
        row = cluster.wait_for(f"/v1/job/{job_id}", lambda row: row["Status"] == "running")
        assert (row["Version"], row["Stop"]) == (2, False)


def test_deregistering_is_idempotent_and_the_unknown_is_no_error(cluster: Cluster, new_id: NewId) -> None:
    job_id = new_id("gone")
    unknown = cluster.nomad("DELETE", f"/v1/job/{job_id}")
    assert (unknown.status, unknown.data["EvalID"]) == (200, "")
    with registered(cluster, bare_job(job_id, Driver="mock_driver", Config={"run_for": "600s"})):
        first, second = (cluster.nomad("DELETE", f"/v1/job/{job_id}").data for _ in range(2))
        assert first["EvalID"]
        assert second["EvalID"]
        assert first["EvalID"] != second["EvalID"]
    purged = cluster.nomad("DELETE", f"/v1/job/{job_id}?purge=true")
    assert purged.status == 200
    assert cluster.nomad("GET", f"/v1/job/{job_id}").status == 404


def test_a_blocked_job_that_is_deregistered_leaves_a_canceled_evaluation(cluster: Cluster, new_id: NewId) -> None:
    job = with_resources(bare_job(new_id("cancel")), MemoryMB=900_000)
    with registered(cluster, job) as reply:
        blocked = wait_evaluation(cluster, reply["EvalID"])["BlockedEval"]
        ended = cluster.nomad("DELETE", f"/v1/job/{job['ID']}").data["EvalID"]
        row = cluster.wait_for(f"/v1/evaluation/{blocked}", lambda row: row["Status"] == "canceled")
        assert row["StatusDescription"] == f'evaluation "{ended}" successful'
        assert cluster.nomad("GET", f"/v1/job/{job['ID']}").data["Status"] == "dead"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/v1/job/nobody", 404, "job not found"),
        ("/v1/job/nobody/summary", 404, "job not found"),
        ("/v1/allocation/1b1da254-ce70-1fbd-6a0a-76be0de82cef", 404, "alloc not found"),
        ("/v1/allocation/zz", 500, "alloc lookup failed: index error: UUID must be 36 characters"),
        ("/v1/evaluation/1b1da254-ce70-1fbd-6a0a-76be0de82cef", 404, "eval not found"),
        (
            "/v1/evaluation/zz",
            500,
            "failed to lookup eval: eval lookup failed: index error: UUID must be 36 characters",
        ),
        ("/v1/node/1b1da254-ce70-1fbd-6a0a-76be0de82cef", 404, "node not found"),
        ("/v1/job/nobody/allocations", 200, []),
        ("/v1/job/nobody/evaluations", 200, []),
    ],
)
def test_what_is_not_there_is_said_in_nomads_words(cluster: Cluster, path: str, status: int, text: object) -> None:
    reply = cluster.nomad("GET", path)
    assert (reply.status, reply.data) == (status, text)


def test_a_group_of_members_has_names_indexes_and_services_of_its_own(cluster: Cluster, new_id: NewId) -> None:
    job_id = new_id("group")
    service = {"Name": "rocklet-${NOMAD_JOB_ID}--${NOMAD_ALLOC_INDEX}", "PortLabel": "rocklet", "Provider": "consul"}
    job = bare_job(job_id, Config=_SLEEP, Services=[service])
    job["TaskGroups"][0]["Count"] = 3
    with registered(cluster, job):
        path = f"/v1/job/{job_id}/allocations"
        rows = cluster.wait_for(path, lambda rows: [row["ClientStatus"] for row in rows] == ["running"] * 3)
        assert sorted(row["Name"] for row in rows) == [f"{job_id}.sandbox[{n}]" for n in range(3)]
        index, found = 0, list[Job]()
        while not found:
            reply = cluster.consul("GET", f"/v1/health/service/rocklet-{job_id}--2?index={index}&wait=5s")
            index, found = int(reply.headers["x-consul-index"]), reply.data
        assert len(found) == 1


def test_keys_compare_and_set_as_in_consul(cluster: Cluster, new_id: NewId) -> None:
    key = new_id("dir")

    def put(name: str, value: bytes, query: str = "") -> object:
        return cluster.consul("PUT", f"/v1/kv/{key}/{name}{query}", value).data

    assert cluster.consul("GET", f"/v1/kv/{key}/a").status == 404
    assert put("a", b"one", "?cas=0") is True
    assert put("a", b"two", "?cas=0") is False
    entry = cluster.consul("GET", f"/v1/kv/{key}/a").data[0]
    assert (entry["Key"], entry["Value"], entry["LockIndex"], entry["Flags"]) == (f"{key}/a", "b25l", 0, 0)
    assert put("a", b"two", f"?cas={entry['ModifyIndex']}") is True
    assert put("b/c", b"") is True
    assert [row["Key"] for row in cluster.consul("GET", f"/v1/kv/{key}/?recurse").data] == [f"{key}/a", f"{key}/b/c"]
    assert cluster.consul("GET", f"/v1/kv/{key}/b/c").data[0]["Value"] is None
    assert cluster.consul("GET", f"/v1/kv/{key}/?keys&separator=/").data == [f"{key}/a", f"{key}/b/"]
    assert cluster.consul("DELETE", f"/v1/kv/{key}/a?cas=1").data is False
    assert cluster.consul("DELETE", f"/v1/kv/{key}/?recurse").data is True
    assert cluster.consul("GET", f"/v1/kv/{key}/?recurse").status == 404


@pytest.mark.parametrize(
    ("recording", "config", "memory"),
    [
        ("allocs-noimage", {"image": "nosuch.invalid/x:1"}, 64),
        ("allocs-oom", {"command": "/bin/sh", "args": ["-c", "tail /dev/zero"]}, 16),
    ],
)
def test_a_container_that_fails_reads_as_recorded(
    cluster: Cluster, engine: Engine, new_id: NewId, recording: str, config: dict[str, object], memory: int
) -> None:
    job_id = new_id("box")
    job = with_resources(
        bare_job(job_id, Driver="docker", Config={"image": engine.busybox, **config}), CPU=50, MemoryMB=memory
    )
    job["TaskGroups"][0]["Networks"] = None
    with registered(cluster, job):
        wait_allocation(cluster, job_id, "failed")
        rows = cluster.nomad("GET", f"/v1/job/{job_id}/allocations").data
        # What a resolver says of a name that does not exist is its own.
        found = [line for line in compare(recordings.load(recording), rows) if "lookup nosuch.invalid" not in line]
        assert found == []
        assert "Failed to pull `nosuch" in str(rows) or recording == "allocs-oom"


@pytest.mark.needs("a node to lose")
@pytest.mark.parametrize(
    ("recording", "lost_after", "status"),
    [("allocs-unknown", 600 * SECOND, "unknown"), ("allocs-lost-and-replaced", 0, "lost")],
)
def test_a_lost_nodes_allocation_is_as_recorded(
    frail: Cluster, new_id: NewId, recording: str, lost_after: int, status: str
) -> None:
    node = frail.nodes[0]
    job_id = new_id("lost")
    job = bare_job(job_id, Config=_SLEEP)
    group = job["TaskGroups"][0]
    # Of its own node alone, or its replacement would begin on another.
    group["Constraints"] = [{"LTarget": "${node.unique.id}", "Operand": "=", "RTarget": node.node_id}]
    group["Disconnect"] = {"Replace": False, "Reconcile": "keep_original", "LostAfter": lost_after}
    with registered(frail, job):
        wait_allocation(frail, job_id, "running")
        node.kill()
        try:
            wait_allocation(frail, job_id, status)
            rows = frail.nomad("GET", f"/v1/job/{job_id}/allocations").data
        finally:
            node.start()
    assert compare(recordings.load(recording), rows) == []
