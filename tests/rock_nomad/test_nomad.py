from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from rock.wire.errors import ClusterUnavailable, InternalError, InvalidRequest, LimitReached
from rock.wire.spec import Isolation, SandboxSpec
from rock_nomad.config import NomadConfig
from rock_nomad.embedded.routes import NOMAD_COMMON, NOMAD_ROUTES, UNANSWERED
from rock_nomad.loopback.acl import make_nomad_token
from rock_nomad.loopback.api import Api
from rock_nomad.names import JOB_PREFIX, job_id, new_sandbox_id
from rock_nomad.nomad import LOG_STREAMS, LONG_POLLS, PAGE, JobExists, Nomad
from rock_nomad.nomad_errors import Refused
from tests.cluster import Cluster
from tests.rock_nomad.recorder import Recorder, record
from tests.rock_nomad.samples import render

SMALL = SandboxSpec(cpus=0.02, memory_bytes=32 * 2**20, disk_bytes=20 * 2**20, isolation="mock", max_lifetime=60)


@pytest.fixture
async def nomad(cluster: Cluster) -> AsyncIterator[Nomad]:
    async with Nomad(cluster.nomad_config()) as nomad:
        yield nomad


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    async with record() as recorder:
        yield recorder


def _job(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - SandboxSpec's fields
    return render(msgspec.structs.replace(SMALL, **changes), sandbox_id=new_sandbox_id())


# --------------------------------------------------------------------------------------------------- against agents


@pytest.mark.slow
async def test_a_job_is_registered_seen_and_stopped(nomad: Nomad) -> None:
    job = _job()
    registration = await nomad.register(job)
    assert abs(registration.date - time.time()) < 5
    evaluation = await nomad.evaluation(registration.eval_id, index=registration.index, wait=10)
    assert evaluation is not None
    assert evaluation.data["JobID"] == job["ID"]
    seen = await nomad.job(job["ID"])
    assert seen is not None
    assert seen.data["Meta"] == job["Meta"]
    assert seen.data["JobModifyIndex"] == registration.job_modify_index
    assert await nomad.stop(job["ID"])
    assert await nomad.stop(job["ID"]), "stopping again is the same"
    assert "job-deregister" in {each["TriggeredBy"] for each in (await nomad.evaluations(job["ID"])).data}
    await nomad.stop(job["ID"], purge=True)
    assert await nomad.job(job["ID"]) is None


@pytest.mark.slow
async def test_an_id_is_registered_once_however_many_try(nomad: Nomad) -> None:
    job = _job()
    tries = await asyncio.gather(*(nomad.register(job) for _ in range(8)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in tries) == ["JobExists"] * 7 + ["Registration"]
    with pytest.raises(JobExists) as exists:
        await nomad.register(job)
    assert exists.value.job_id == job["ID"]
    await nomad.stop(job["ID"], purge=True)


@pytest.mark.slow
async def test_a_stopped_job_is_registered_anew_only_by_who_saw_it_stopped(nomad: Nomad) -> None:
    job = _job()
    first = await nomad.register(job)
    await nomad.stop(job["ID"])
    with pytest.raises(JobExists):
        await nomad.register(job, enforce_index=first.job_modify_index)
    stopped = await nomad.job(job["ID"])
    assert stopped is not None
    assert stopped.data["Stop"] is True
    await nomad.register(job, enforce_index=stopped.data["JobModifyIndex"])
    await nomad.stop(job["ID"], purge=True)


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["raw_exec", "mock", "runc", "gvisor", "exec"])
async def test_nomad_finds_every_rendered_job_valid(nomad: Nomad, isolation: Isolation) -> None:
    spec = SandboxSpec(isolation=isolation, env={"A": "${NOMAD_TASK_DIR}"}, lease=30.0)
    if isolation != "gvisor":
        spec = msgspec.structs.replace(spec, gpus=2, gpu_type="RTX 4090 (x)+é", gpu_memory_bytes=2**30)
    answer = await nomad.validate(render(spec))
    assert not answer.data["ValidationErrors"]
    assert not answer.data["Error"]


@pytest.mark.slow
async def test_what_nomad_cannot_run_is_told_apart(nomad: Nomad) -> None:
    with pytest.raises(InvalidRequest, match="nonexistent node pool") as refused:
        await nomad.register({**_job(), "NodePool": "nope"})
    assert refused.value.details["field"] == "node_pool"
    with pytest.raises(InternalError, match="Missing job task groups"):
        await nomad.register({**_job(), "TaskGroups": None})


@pytest.mark.slow
async def test_a_plan_registers_nothing(nomad: Nomad) -> None:
    job = _job(memory_bytes=900 * 2**30)
    plan = await nomad.plan(job)
    assert plan.data["FailedTGAllocs"]["sandbox"]["DimensionExhausted"] == {"memory": 1}
    assert await nomad.job(job["ID"]) is None


@pytest.mark.slow
async def test_what_does_not_exist_is_none(nomad: Nomad) -> None:
    unknown = "00000000-0000-0000-0000-000000000000"
    assert await nomad.job("sbx-nobody") is None
    assert await nomad.stop("sbx-nobody") is None
    assert await nomad.allocation(unknown) is None
    assert await nomad.evaluation(unknown) is None
    assert (await nomad.allocations("sbx-nobody")).data == []


@pytest.mark.slow
async def test_listings_have_what_the_derivation_reads(nomad: Nomad) -> None:
    job = _job()
    registration = await nomad.register(job)
    await nomad.evaluation(registration.eval_id, index=registration.index, wait=10)
    [line] = [each for each in (await nomad.list_jobs(JOB_PREFIX)).data if each["ID"] == job["ID"]]
    assert line["Meta"]["spec"] == job["Meta"]["spec"]
    [place] = [each for each in (await nomad.list_allocations()).data if each["JobID"] == job["ID"]]
    whole = await nomad.allocation(place["ID"])
    assert whole is not None
    assert whole.data["AllocatedResources"]["Shared"]["Ports"][0]["Label"] == "rocklet"
    assert job["ID"] in {each["JobID"] for each in (await nomad.list_evaluations()).data}
    [node] = (await nomad.nodes()).data
    assert node["NodeResources"]["Memory"]["MemoryMB"] > 0
    assert (await nomad.agent()).data["config"]["Version"]
    await nomad.stop(job["ID"], purge=True)


@pytest.mark.slow
async def test_a_wait_ends_with_what_it_waited_for(nomad: Nomad) -> None:
    job = _job()
    await nomad.register(job)
    async with asyncio.timeout(60):
        index = 0
        rows: list[dict[str, Any]] = []
        while not rows or rows[0]["ClientStatus"] != "running":
            answer = await nomad.allocations(job["ID"], index=index, wait=10)
            index, rows = answer.index, answer.data
    await nomad.stop(job["ID"], purge=True)


@pytest.mark.slow
async def test_the_event_stream_opens_with_an_empty_batch_and_tells_a_life(nomad: Nomad) -> None:
    job = _job()
    told: set[str] = set()
    is_open = asyncio.Event()

    async def read() -> None:
        async for batch in nomad.events(["Job", "Evaluation", "Allocation"]):
            is_open.set()
            for event in batch.events:
                of = event.payload[event.topic]
                if job["ID"] in (of.get("ID"), of.get("JobID")):
                    told.add(event.type)
            if {"JobRegistered", "PlanResult", "JobDeregistered"} <= told:
                return

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        await is_open.wait()
        await nomad.register(job)
        await nomad.stop(job["ID"])


@pytest.mark.slow
async def test_long_polls_leave_room_for_other_calls(nomad: Nomad) -> None:
    job = _job()
    registration = await nomad.register(job)
    async with asyncio.timeout(60), asyncio.TaskGroup() as waiters:
        polls = [
            waiters.create_task(nomad.job(job["ID"], index=registration.index + 10_000, wait=30))
            for _ in range(2 * LONG_POLLS)
        ]
        assert (await nomad.agent()).data
        for poll in polls:
            poll.cancel()
    await nomad.stop(job["ID"], purge=True)


# --------------------------------------------------------------------------------------------- what we send and read


async def test_the_namespace_the_region_and_our_token_go_with_every_call(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NOMAD_TOKEN", "NOMAD_NAMESPACE", "NOMAD_REGION", "NOMAD_ADDR", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    config = NomadConfig(url=recorder.url, token=SecretStr("ours"))
    async with Nomad(config, namespace="rl", region="eu") as nomad:
        await _call_everything(nomad)
    assert len(recorder.seen) >= 15
    for seen in recorder.seen:
        assert (seen.query["namespace"], seen.query["region"]) == (["rl"], ["eu"]), seen.path
        assert seen.headers["X-Nomad-Token"] == "ours"


async def test_everything_we_send_is_in_the_embedded_clusters_table(recorder: Recorder) -> None:
    async with Nomad(NomadConfig(url=recorder.url)) as nomad:
        await _call_everything(nomad)
    for seen in recorder.seen:
        known = (*NOMAD_ROUTES, *UNANSWERED)
        [route] = [each for each in known if each.method == seen.method and _is_at(each.path, seen.path)]
        assert set(seen.query) <= route.query | NOMAD_COMMON, seen.path


async def test_the_embedded_cluster_answers_little_else(recorder: Recorder) -> None:
    async with Nomad(NomadConfig(url=recorder.url)) as nomad:
        await _call_everything(nomad)
    unsent = {
        route.name
        for route in NOMAD_ROUTES
        if not any(seen.method == route.method and _is_at(route.path, seen.path) for seen in recorder.seen)
    }
    # What the suite that compares it with real agents reads.
    assert unsent <= {"get_job_summary", "get_leader"}


async def _call_everything(nomad: Nomad) -> None:
    job = render()
    await nomad.register(job)
    await nomad.plan(job)
    await nomad.validate(job)
    await nomad.stop("sbx-a")
    await nomad.stop("sbx-a", purge=True)
    await nomad.job("sbx-a", index=1, wait=0.1)
    await nomad.allocations("sbx-a", index=1, wait=0.1)
    await nomad.evaluations("sbx-a")
    await nomad.allocation("an-id")
    await nomad.evaluation("an-id", index=1, wait=0.1)
    await nomad.list_jobs("sbx-")
    await nomad.list_allocations()
    await nomad.list_evaluations(status="blocked")
    await nomad.create_variable("nomad/jobs/sbx-a", {"password": "x"})
    await nomad.put_variable("nomad/jobs/sbx-a", {"password": "x"})
    await nomad.list_variables("nomad/jobs/sbx-")
    await nomad.delete_variable("nomad/jobs/sbx-a")
    await nomad.nodes()
    await nomad.node("an-id")
    await nomad.agent()
    await nomad.scheduler()
    assert [frame.data async for frame in nomad.log("an-id", "rocklet", "stderr", follow=True)] == [b""]
    assert [batch.index async for batch in nomad.events(["Job", "Allocation:sbx-a"], index=3)] == [0]


def _is_at(pattern: str, path: str) -> bool:
    named = re.sub(r"\{[^}:]*\}", "[^/]+", pattern)
    return bool(re.fullmatch(re.sub(r"\{[^}]*:\.\*\}", ".+", named), path))


async def test_a_registration_is_enforced_against_the_index(recorder: Recorder) -> None:
    async with Nomad(NomadConfig(url=recorder.url)) as nomad:
        await nomad.register(render(), enforce_index=9)
    assert '"EnforceIndex": true, "JobModifyIndex": 9' in recorder.seen[0].body


@pytest.mark.slow
@pytest.mark.needs("ACLs")
async def test_a_right_that_nomads_token_lacks_is_named(cluster: Cluster) -> None:
    management = Api(cluster.nomad_url, "X-Nomad-Token", cluster.nomad_token)
    rules = 'namespace "default" { capabilities = ["list-jobs"] }'
    management.call("PUT", "/v1/acl/policy/lists-only", {"Name": "lists-only", "Rules": rules})
    token = SecretStr(make_nomad_token(management, "lists-only"))
    async with Nomad(NomadConfig(url=cluster.nomad_url, token=token)) as nomad:
        await nomad.list_jobs()
        calls = {"register-job": nomad.register(_job()), "read-job": nomad.job("sbx-a"), "node read": nomad.nodes()}
        for right, call in calls.items():
            with pytest.raises(ClusterUnavailable, match=f"Permission denied; grant it {right}"):
                await call
    async with Nomad(NomadConfig(url=cluster.nomad_url, token=SecretStr(str(uuid.uuid4())))) as nomad:
        with pytest.raises(ClusterUnavailable, match=r"Permission denied; .* one that has not expired"):
            await nomad.list_jobs()


async def test_a_listing_is_read_page_by_page(recorder: Recorder) -> None:
    recorder.answers["/v1/jobs"] = (200, [{"ID": "sbx-a"}])
    recorder.pages["/v1/jobs"] = ["second", "third"]
    async with Nomad(NomadConfig(url=recorder.url)) as nomad:
        answer = await nomad.list_jobs("sbx-")
    assert len(answer.data) == 3
    assert [seen.query.get("next_token") for seen in recorder.seen] == [None, ["second"], ["third"]]
    assert {seen.query["per_page"][0] for seen in recorder.seen} == {str(PAGE)}


async def test_what_is_no_nomad_at_all_is_a_cluster_that_does_not_answer(recorder: Recorder) -> None:
    recorder.answers["/v1/jobs"] = recorder.answers["/v1/job/sbx-a"] = (200, b"<html>Sign in</html>")
    async with Nomad(NomadConfig(url=recorder.url)) as nomad:
        for call in (nomad.list_jobs(), nomad.job("sbx-a"), nomad.stop("sbx-a")):
            with pytest.raises(ClusterUnavailable, match="does not speak JSON"):
                await call


async def test_an_event_longer_than_a_buffer_is_read_whole(recorder: Recorder) -> None:
    long = b'{"Index":5,"Events":[{"Topic":"Job","Key":"sbx-a","Payload":{"Job":{"Pad":"' + b"x" * 300_000 + b'"}}}]}\n'
    recorder.answers["/v1/event/stream"] = (200, b"{}\n" + long + b'{"Index":6,"Events":[]}\n{}\n')
    async with Nomad(NomadConfig(url=recorder.url)) as nomad:
        batches = [batch async for batch in nomad.events(["Job"])]
    assert [batch.index for batch in batches] == [0, 0, 5, 6, 0]
    assert len(batches[2].events[0].payload["Job"]["Pad"]) == 300_000


async def test_a_log_comes_frame_by_frame_however_they_are_cut_and_its_refusals_are_told_apart(
    recorder: Recorder,
) -> None:
    path, frames = "/v1/client/fs/logs/an-id", b'{"Data":"b25l","File":"alloc/logs/rocklet.stderr.0","Offset":3}{}'
    async with Nomad(NomadConfig(url=recorder.url)) as nomad:
        recorder.answers[path] = (200, frames + frames.replace(b"b25l", b"eHh4" * 100_000))
        read = [frame.data async for frame in nomad.log("an-id", "rocklet", "stderr", follow=True)]
        assert read == [b"one", b"", b"xxx" * 100_000, b""]
        recorder.answers[path] = (404, b"Unknown allocation")
        with pytest.raises(Refused, match="404: Unknown allocation"):
            await anext(nomad.log("an-id", "rocklet", "stderr", follow=False))
        recorder.answers[path] = (500, b"No path to node")
        with pytest.raises(ClusterUnavailable, match="No path to node"):
            await anext(nomad.log("an-id", "rocklet", "stderr", follow=False))


async def test_no_more_logs_are_read_at_once_than_nomad_has_connections_for(recorder: Recorder) -> None:
    recorder.answers["/v1/client/fs/logs/an-id"] = (200, b"{}" * 2)
    async with Nomad(NomadConfig(url=recorder.url)) as nomad:
        readers = [nomad.log("an-id", "rocklet", "stderr", follow=True) for _ in range(LOG_STREAMS + 1)]
        for reader in readers[:-1]:
            await anext(reader)
        with pytest.raises(LimitReached, match=f"{LOG_STREAMS} logs are being read"):
            await anext(readers[-1])
        await readers[0].aclose()
        assert (await anext(nomad.log("an-id", "rocklet", "stderr", follow=True))).data == b""
        for reader in readers:
            await reader.aclose()


async def test_a_nomad_that_is_not_there_is_named_by_its_address_for_reads_and_writes() -> None:
    async with Nomad(NomadConfig(url="http://127.0.0.1:1")) as nomad:
        for call in (nomad.agent(), nomad.stop("sbx-a")):
            with pytest.raises(ClusterUnavailable, match=r"does not answer at http://127\.0\.0\.1:1: .+"):
                await call


async def test_errors_of_reads_and_writes_alike_are_translated(recorder: Recorder) -> None:
    recorder.answers["/v1/job/sbx-a"] = (403, b"Permission denied")
    recorder.answers["/v1/nodes"] = (403, b"Permission denied")
    async with Nomad(NomadConfig(url=recorder.url)) as nomad:
        for call in (nomad.nodes(), nomad.stop("sbx-a"), nomad.register(render())):
            with pytest.raises(ClusterUnavailable, match="Permission denied"):
                await call


async def test_a_nodes_clock_is_read_in_seconds(recorder: Recorder) -> None:
    recorder.answers["/v1/client/stats"] = (200, {"Timestamp": 1_795_273_259_186_619_532})
    async with Nomad(NomadConfig(url=recorder.url)) as nomad:
        assert await nomad.node_clock("an-id") == pytest.approx(1_795_273_259.1866195)
    assert recorder.seen[0].query["node_id"] == ["an-id"]


async def test_a_refusal_for_lack_of_rights_is_told_from_other_failures(recorder: Recorder) -> None:
    recorder.answers["/v1/nodes"] = (403, b"Permission denied")
    recorder.answers["/v1/agent/self"] = (500, b"No cluster leader")
    async with Nomad(NomadConfig(url=recorder.url)) as nomad:
        with pytest.raises(ClusterUnavailable) as denied:
            await nomad.nodes()
        with pytest.raises(ClusterUnavailable) as failed:
            await nomad.agent()
    assert (denied.value.details.get("status"), failed.value.details.get("status")) == (403, None)


async def test_a_job_id_cannot_reach_beyond_its_place(recorder: Recorder) -> None:
    async with Nomad(NomadConfig(url=recorder.url)) as nomad:
        await nomad.stop("../nodes?x=1")
        await nomad.job("../nodes?x=1")
    assert [seen.path for seen in recorder.seen] == ["/v1/job/../nodes?x=1"] * 2
    assert job_id("a") == "sbx-a"
