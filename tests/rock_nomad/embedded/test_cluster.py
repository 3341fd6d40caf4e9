"""The whole agent as a process: what it leaves, what it bears, what it refuses."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rock_nomad.embedded.cluster import CONSUL_CONNECTIONS, NOMAD_CONNECTIONS, is_bindable
from tests.cgroups import find_cgroups
from tests.cluster import Cluster, run_cluster
from tests.processes import pids_naming

pytestmark = pytest.mark.slow

NewId = Callable[[str], str]
Job = dict[str, Any]

# Forks twice, leaves the session, ignores what it can, and holds no pipe of the task's.
DAEMON = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)
        for fd in range(3): os.close(fd)
        time.sleep(600)
    os._exit(0)
time.sleep(600)
"""


def batch_job(job_id: str, driver: str, config: Job, *, memory: int = 20, cpu: int = 1, **group: object) -> Job:
    restart = {"Attempts": 0, "Mode": "fail"}
    task = {"Name": "rocklet", "Driver": driver, "Config": config, "Resources": {"CPU": cpu, "MemoryMB": memory}}
    group = {"Name": "sandbox", "RestartPolicy": restart, "EphemeralDisk": {"SizeMB": 10}, "Tasks": [task], **group}
    return {"ID": job_id, "Type": "batch", "TaskGroups": [group]}


def shell_job(job_id: str, script: str, **fields: Any) -> Job:  # noqa: ANN401 - batch_job's
    return batch_job(job_id, "raw_exec", {"command": "/bin/sh", "args": ["-c", script]}, **fields)


def register(cluster: Cluster, job: Job) -> Job:
    reply = cluster.nomad("POST", f"/v1/job/{job['ID']}", {"Job": job, "EnforceIndex": True, "JobModifyIndex": 0})
    assert reply.status == 200, reply.data
    return dict(reply.data)


def wait_status(cluster: Cluster, job_id: str, *statuses: str, timeout: float = 60.0) -> list[Job]:
    path = f"/v1/job/{job_id}/allocations"
    rows: list[Job] = cluster.wait_for(
        path, lambda rows: rows and all(row["ClientStatus"] in statuses for row in rows), timeout=timeout
    )
    return rows


def wait_until_none(text: str, timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while found := pids_naming(text):
        assert time.monotonic() < deadline, f"still alive: {found}"
        time.sleep(0.02)  # processes of somebody else's end without telling us


def test_killing_the_server_leaves_no_process_of_any_task(new_id: NewId) -> None:
    ids = [new_id("orphan") for _ in range(3)]
    with run_cluster("embedded") as cluster:
        for job_id in ids:
            task = {"command": "/usr/bin/env", "args": ["python3", "-c", DAEMON]}
            register(cluster, batch_job(job_id, "raw_exec", task))
        alloc_ids = [wait_status(cluster, job_id, "running")[0]["ID"] for job_id in ids]
        deadline = time.monotonic() + 60
        while any(len(pids_naming(one)) < 2 for one in alloc_ids):  # the task, and its daemon
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(cluster.process_id, signal.SIGKILL)
        for one in alloc_ids:
            wait_until_none(one)


@pytest.mark.parametrize("how", ["stop", "exit"])
def test_the_end_of_a_task_is_the_end_of_its_daemons(embedded: Cluster, new_id: NewId, how: str) -> None:
    job_id = new_id("daemon")
    code = DAEMON if how == "stop" else DAEMON.replace("time.sleep(600)\n", "time.sleep(600)\n", 1) + "\n"
    if how == "exit":
        code = code.rstrip().removesuffix("time.sleep(600)") + "time.sleep(0.3)"
    register(embedded, batch_job(job_id, "raw_exec", {"command": "/usr/bin/env", "args": ["python3", "-c", code]}))
    alloc_id = wait_status(embedded, job_id, "running", "complete")[0]["ID"]
    if how == "stop":
        embedded.nomad("DELETE", f"/v1/job/{job_id}")
    wait_status(embedded, job_id, "complete")
    assert not pids_naming(alloc_id)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_agent_and_its_tasks(new_id: NewId, number: signal.Signals) -> None:
    job_id = new_id("term")
    with run_cluster("embedded") as cluster:
        job = shell_job(job_id, "trap '' INT; sleep 600 & wait; sleep 600")
        job["TaskGroups"][0]["Tasks"][0]["KillTimeout"] = 300_000_000
        register(cluster, job)
        alloc_id = wait_status(cluster, job_id, "running")[0]["ID"]
        os.kill(cluster.process_id, number)
        wait_until_none(alloc_id, timeout=15.0)


def test_two_hundred_mock_jobs_at_once_all_run(embedded: Cluster, new_id: NewId) -> None:
    ids = [new_id("load") for _ in range(200)]
    jobs = [batch_job(one, "mock_driver", {"run_for": "600s"}, memory=1) for one in ids]
    with ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(lambda job: register(embedded, job), jobs))
    assert len({reply["EvalID"] for reply in replies}) == 200
    for one in ids:
        assert len(wait_status(embedded, one, "running")) == 1
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda one: embedded.nomad("DELETE", f"/v1/job/{one}"), ids))
    for one in ids:
        wait_status(embedded, one, "complete")


def test_as_many_raw_exec_jobs_as_fit_run_and_the_rest_queue_with_the_reason(new_id: NewId) -> None:
    with run_cluster("embedded") as cluster:
        node = cluster.nomad("GET", "/v1/nodes?resources=true").data[0]
        share = node["NodeResources"]["Cpu"]["CpuShares"] // 20
        ids = [new_id("fit") for _ in range(30)]
        with ThreadPoolExecutor(30) as pool:
            jobs = [shell_job(one, "exec sleep 600", cpu=share) for one in ids]
            list(pool.map(lambda job: register(cluster, job), jobs))
        rows = cluster.wait_for(
            "/v1/allocations", lambda rows: [row["ClientStatus"] for row in rows] == ["running"] * 20, timeout=30
        )
        placed = {row["JobID"] for row in rows}
        for one in set(ids) - placed:
            failed = cluster.nomad("GET", f"/v1/job/{one}/evaluations").data[0]["FailedTGAllocs"]["sandbox"]
            assert failed["DimensionExhausted"] == {"cpu": 1}
        cluster.nomad("DELETE", f"/v1/job/{next(iter(placed))}")
        cluster.wait_for(
            "/v1/allocations", lambda rows: len(rows) == 21 and all(row["ClientStatus"] != "pending" for row in rows)
        )


def test_gpus_are_given_once_and_a_fourth_waits_for_one(new_id: NewId) -> None:
    def gpu_job(job_id: str, name: str) -> Job:
        job = shell_job(job_id, "echo $CUDA_VISIBLE_DEVICES > $NOMAD_TASK_DIR/gpu; exec sleep 600")
        job["TaskGroups"][0]["Tasks"][0]["Resources"]["Devices"] = [{"Name": name, "Count": 1}]
        return job

    with run_cluster("embedded", "--simulate-gpus", "NVIDIA H100 80GB HBM3:2,NVIDIA A10G:1") as cluster:
        ids = [new_id("gpu") for _ in range(4)]
        for job_id in ids:
            register(cluster, gpu_job(job_id, "nvidia/gpu"))
        given = [_device_ids(cluster, wait_status(cluster, one, "running")[0]["ID"]) for one in ids[:3]]
        assert len({device for devices in given for device in devices}) == 3
        queued = cluster.nomad("GET", f"/v1/job/{ids[3]}/evaluations").data
        reasons = [row["FailedTGAllocs"]["sandbox"]["DimensionExhausted"] for row in queued]
        assert reasons == [{"devices: no devices match request": 1}] * 2
        register(cluster, gpu_job(unknown := new_id("gpu"), "nvidia/gpu/NVIDIA B200"))
        failed = cluster.nomad("GET", f"/v1/job/{unknown}/evaluations").data[0]["FailedTGAllocs"]["sandbox"]
        assert failed["ConstraintFiltered"] == {"missing devices": 1}
        cluster.nomad("DELETE", f"/v1/job/{ids[0]}")
        fourth = cluster.wait_for(f"/v1/job/{ids[3]}/allocations", lambda rows: bool(rows))[0]["ID"]
        wait_status(cluster, ids[3], "running")
        assert _device_ids(cluster, fourth) == given[0]


def _device_ids(cluster: Cluster, alloc_id: str) -> list[str]:
    """The ids that the allocation was given, which its environment must name too."""
    row = cluster.nomad("GET", f"/v1/allocation/{alloc_id}").data
    devices: list[str] = row["AllocatedResources"]["Tasks"]["rocklet"]["Devices"][0]["DeviceIDs"]
    assert pids_naming(f"CUDA_VISIBLE_DEVICES={','.join(devices)}")
    return devices


def test_a_task_sees_nothing_of_the_agents_environment(embedded: Cluster, new_id: NewId) -> None:
    job_id = new_id("env")
    script = "env > $NOMAD_TASK_DIR/env; exec sleep 600"
    job = shell_job(job_id, script, Networks=[{"DynamicPorts": [{"Label": "web", "To": 22555}]}])
    job["TaskGroups"][0]["Tasks"][0] |= {"Env": {"X": "${NOMAD_JOB_ID}/${attr.cpu.arch}/${nope}"}, "Meta": {"k": "v"}}
    register(embedded, job)
    alloc_id = wait_status(embedded, job_id, "running")[0]["ID"]
    (pid, *_) = pids_naming(f"NOMAD_ALLOC_ID={alloc_id}")
    environment = dict(
        line.split("=", 1) for line in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in line
    )
    assert {key for key in environment if not key.startswith("NOMAD_")} <= {"PATH", "X", "PWD", "SHLVL", "_", "OLDPWD"}
    assert environment["X"].startswith(f"{job_id}/")
    assert environment["X"].endswith("/${nope}")
    assert (environment["NOMAD_PORT_web"], environment["NOMAD_META_k"]) == ("22555", "v")


def test_a_log_is_bounded(embedded: Cluster, new_id: NewId) -> None:
    job_id = new_id("log")
    job = shell_job(job_id, "head -c 5000000 /dev/zero; echo done >&2; exec sleep 600")
    job["TaskGroups"][0]["Tasks"][0]["LogConfig"] = {"MaxFiles": 2, "MaxFileSizeMB": 1}
    register(embedded, job)
    alloc_id = wait_status(embedded, job_id, "running")[0]["ID"]
    (pid, *_) = pids_naming(f"NOMAD_ALLOC_ID={alloc_id}")
    logs = Path(f"/proc/{pid}/cwd").resolve().parent / "alloc" / "logs"
    deadline = time.monotonic() + 60
    while not (logs / "rocklet.stderr.0").exists() or (logs / "rocklet.stderr.0").read_text() != "done\n":
        assert time.monotonic() < deadline
        time.sleep(0.02)  # the log is the guard's, which tells nobody when it has written
    sizes = {path.name: path.stat().st_size for path in logs.glob("rocklet.stdout.*")}
    assert sizes == {"rocklet.stdout.3": 1024**2, "rocklet.stdout.4": 5000000 - 4 * 1024**2}


def test_a_task_that_takes_too_much_memory_is_killed_and_says_so(embedded: Cluster, new_id: NewId) -> None:
    register(embedded, shell_job(probe := new_id("cgroup"), "exec sleep 600"))
    wait_status(embedded, probe, "running")
    if not find_cgroups("rock-nomad-embedded-*/*/memory.*"):
        pytest.skip("no memory cgroup can be made on this machine")
    job_id = new_id("oom")
    eat = {"command": "/usr/bin/env", "args": ["python3", "-c", "x = bytearray(400 * 2**20); print(len(x))"]}
    register(embedded, batch_job(job_id, "raw_exec", eat, memory=50))
    events = wait_status(embedded, job_id, "failed")[0]["TaskStates"]["rocklet"]["Events"]
    assert next(event for event in events if event["Type"] == "Terminated")["Details"]["oom_killed"] == "true"


def test_an_unknown_call_or_parameter_is_501_and_named(embedded: Cluster) -> None:
    for method, path in (("GET", "/v1/nope"), ("PUT", "/v1/jobs"), ("GET", "/v1/jobs?filter=x"), ("HEAD", "/v1/jobs")):
        reply = embedded.nomad(method, path)
        assert reply.status == 501
        assert method == "HEAD" or path.partition("?")[0] in reply.data
    assert embedded.consul("GET", "/v1/session/list").status == 501
    assert embedded.consul("GET", "/v1/kv/x?raw").status == 501


@pytest.mark.parametrize(
    "change", [{"Type": "service"}, {"Periodic": {"Spec": "* * * * *"}}, {"TaskGroups": [{"Name": "a"}, {"Name": "b"}]}]
)
def test_a_job_beyond_the_imitation_is_501_and_named(embedded: Cluster, new_id: NewId, change: Job) -> None:
    job = {**batch_job(new_id("beyond"), "mock_driver", {}), **change}
    if "TaskGroups" in change:
        tasks = batch_job("x", "mock_driver", {})["TaskGroups"][0]["Tasks"]
        job["TaskGroups"] = [{**group, "Tasks": tasks} for group in change["TaskGroups"]]
    reply = embedded.nomad("POST", f"/v1/job/{job['ID']}", {"Job": job})
    assert (reply.status, "does not imitate" in reply.data) == (501, True)


@pytest.mark.parametrize("token", ["", "wrong"])
def test_nothing_is_answered_without_the_token(embedded: Cluster, token: str) -> None:
    stranger = replace(embedded, nomad_token=token, consul_token=token)
    nomad = stranger.nomad("GET", "/v1/jobs")
    assert (nomad.status, nomad.data) == (403, "Permission denied")
    written = stranger.consul("PUT", "/v1/kv/x", b"y")
    assert written.status == 403
    assert replace(embedded, nomad_token="").nomad("GET", "/v1/status/leader").status == 200


@pytest.mark.parametrize(("api", "limit"), [("nomad", NOMAD_CONNECTIONS), ("consul", CONSUL_CONNECTIONS)])
def test_a_client_has_so_many_connections_and_no_more(api: str, limit: int) -> None:
    with run_cluster("embedded") as cluster, contextlib.ExitStack() as stack:
        url = urlsplit(cluster.nomad_url if api == "nomad" else cluster.consul_url)
        address = (url.hostname, url.port)
        held = [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(limit)]
        ask = b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n"
        for one in held:
            one.sendall(ask)
            assert one.recv(4096).startswith(b"HTTP/1.1 200")
        extra = stack.enter_context(socket.create_connection(address, timeout=60))
        assert extra.recv(4096).startswith(b"HTTP/1.1 429")
        held[0].close()
        deadline = time.monotonic() + 60
        while True:
            with socket.create_connection(address, timeout=60) as another:
                another.sendall(ask)
                if another.recv(4096).startswith(b"HTTP/1.1 200"):
                    break
            assert time.monotonic() < deadline


def test_the_agents_say_that_they_are_embedded(embedded: Cluster) -> None:
    assert "rock-nomad-embedded" in json.dumps(embedded.nomad("GET", "/v1/agent/self").data)
    assert "rock-nomad-embedded" in json.dumps(embedded.consul("GET", "/v1/agent/self").data)


def test_a_blocking_query_returns_with_the_change_and_not_before(embedded: Cluster, new_id: NewId) -> None:
    job_id = new_id("wake")
    with ThreadPoolExecutor(1) as pool:
        index = embedded.nomad("GET", f"/v1/job/{job_id}").headers.get("x-nomad-index", "1")
        waiting = pool.submit(embedded.consul, "GET", f"/v1/health/service/{job_id}?index=1&wait=120s")
        job = batch_job(job_id, "mock_driver", {"run_for": "600s"})
        job["TaskGroups"][0]["Tasks"][0]["Services"] = [{"Name": job_id}]
        began = time.monotonic()
        register(embedded, job)
        assert [row["Service"]["Service"] for row in waiting.result().data] == [job_id]
        assert time.monotonic() - began < 60
    began = time.monotonic()
    now = embedded.nomad("GET", f"/v1/job/{job_id}").headers["x-nomad-index"]
    later = embedded.nomad("GET", f"/v1/job/{job_id}?index={now}&wait=300ms")
    assert later.status == 200
    assert index.isdigit()
    assert time.monotonic() - began >= 0.1


def test_a_port_that_somebody_holds_is_not_bindable() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        assert not is_bindable(holder.getsockname()[1])
        free = holder.getsockname()[1]
    assert is_bindable(free)


@pytest.fixture(autouse=True)
def _stop_jobs(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test leaves on the shared cluster would be in the next one's way."""
    yield
    if "embedded" in request.fixturenames:
        shared: Cluster = request.getfixturevalue("embedded")
        for job in shared.nomad("GET", "/v1/jobs").data:
            shared.nomad("DELETE", f"/v1/job/{job['ID']}?purge=true")
