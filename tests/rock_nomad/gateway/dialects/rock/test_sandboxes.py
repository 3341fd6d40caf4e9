"""ROCK's published client, unchanged, about the life of sandboxes; only the address is ours."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from rock.wire.messages import State
from rock.wire.operations import LIST_SANDBOXES
from tests.cluster import Cluster
from tests.gateways import Gateway, start_gateway
from tests.rl_rock import run_sample

pytestmark = pytest.mark.slow

PREFIX = "/apis/envs/sandbox/v1"


async def _call(gateway: Gateway, method: str, path: str, body: object = None, **headers: str) -> dict[str, Any]:
    """A reply of ROCK's wire."""
    shown = {"XRL-Authorization": f"Bearer {gateway.key}", **headers}
    async with gateway.session.request(method, f"{gateway.url}{path}", json=body, headers=shown) as reply:
        said: dict[str, Any] = await reply.json()
        assert reply.status == 200, said
        return said


async def test_the_readmes_sample_runs(gateway: Gateway, tmp_path: Path) -> None:
    status, said = await run_sample("readme_sandbox.py", gateway, folder=tmp_path)
    assert (status, "output: Hello ROCK" in said) == (0, True), said


@pytest.mark.parametrize("name", ["readme_sandbox.py", "readme_sandbox_older.py"])
async def test_the_samples_run_with_our_client_too(gateway: Gateway, tmp_path: Path, name: str) -> None:
    status, said = await run_sample(name, gateway, folder=tmp_path, python=Path(sys.executable))
    assert (status, said) == (0, "output: Hello ROCK\n")


async def test_a_whole_life_with_the_published_client(gateway: Gateway, tmp_path: Path) -> None:
    status, said = await run_sample("one_life.py", gateway, str(tmp_path), folder=tmp_path)
    assert status == 0, said
    assert "WARNING" not in said


async def test_starts_that_crowd_fail_and_are_given_up_leave_nothing_behind(gateway: Gateway, tmp_path: Path) -> None:
    status, said = await run_sample("starts.py", gateway, folder=tmp_path)
    assert status == 0, said
    listed = await gateway.call(LIST_SANDBOXES)
    assert [each.sandbox_id for each in listed.sandboxes if each.state is not State.STOPPED] == []


async def test_a_start_that_the_cluster_fails_is_the_clusters_fault(cluster: Cluster, tmp_path: Path) -> None:
    async with start_gateway(cluster, env={"PYTHONHOME": "/nowhere"}) as gateway:  # no rocklet can start
        status, said = await run_sample("failed_start.py", gateway, folder=tmp_path)
    assert status == 0, said


async def test_repeated_slashes_are_one(embedded_gateway: Gateway) -> None:
    assert (await _call(embedded_gateway, "GET", f"/{PREFIX}//get_token"))["result"] == {"Expiration": None}


async def test_the_gateway_tells_its_health_without_a_key(embedded_gateway: Gateway) -> None:
    async with embedded_gateway.session.get(f"{embedded_gateway.url}/health") as reply:
        assert (reply.status, await reply.json()) == (200, {"status": "ok"})


async def test_sandboxes_are_listed_by_page_and_owner_and_in_batches(embedded: Cluster) -> None:
    async with start_gateway(embedded, default_isolation="mock") as gateway:
        starts = [
            _call(gateway, "POST", f"{PREFIX}/start_async", {"image": "a", "memory": "64m", "cpus": 0.1}, **headers)
            for headers in ({"X-User-Id": "ann"}, {"X-User-Id": "ann"}, {"X-User-Id": "bob"})
        ]
        ids = [said["result"]["sandbox_id"] for said in await asyncio.gather(*starts)]
        page = (await _call(gateway, "GET", f"{PREFIX}/sandboxes?user_id=ann&page_size=1"))["result"]
        assert (len(page["items"]), page["total"], page["has_more"]) == (1, 2, True)
        assert page["items"][0]["user_id"] == "ann"
        page = (await _call(gateway, "GET", f"{PREFIX}/sandboxes?user_id=ann&page_size=1&page=2"))["result"]
        assert (len(page["items"]), page["total"], page["has_more"]) == (1, 2, False)
        await _call(gateway, "POST", f"{PREFIX}/stop", {"sandbox_id": ids[0]})
        batch = await _call(gateway, "POST", f"{PREFIX}/sandboxes/batch", {"sandbox_ids": [*ids, "unknown"]})
        assert {each["sandbox_id"] for each in batch["result"]["statuses"]} == set(ids[1:])


SMALL = {"image": "a", "memory": "64m", "cpus": 0.1}


async def test_the_older_start_answers_with_a_sandbox_that_runs(gateway: Gateway) -> None:
    started = await _call(gateway, "POST", f"{PREFIX}/start", {**SMALL, "sandbox_id": "sync-start"})
    assert (started["status"], started["result"]["sandbox_id"]) == ("Success", "sync-start")
    ran = await _call(gateway, "POST", f"{PREFIX}/execute", {"sandbox_id": "sync-start", "command": ["true"]})
    assert ran["result"]["exit_code"] == 0
    again = await _call(gateway, "POST", f"{PREFIX}/start", {**SMALL, "sandbox_id": "sync-start"})
    assert (again["result"]["code"], "Sandbox sync-start already exists" in again["error"]) == (4000, True)
    alive = await _call(gateway, "GET", f"{PREFIX}/is_alive?sandbox_id=sync-start")
    assert alive["result"]["is_alive"] is True


async def test_what_a_sandbox_uses_is_told(embedded_gateway: Gateway) -> None:
    await embedded_gateway.create("statistics")
    path = f"{PREFIX}/get_sandbox_statistics?sandbox_id=statistics"
    used = (await _call(embedded_gateway, "GET", path))["result"]
    assert set(used) == {"cpu", "mem", "disk", "disk_log_percent", "disk_dind_percent", "net"}
    assert all(0 <= used[name] <= 100 for name in ("cpu", "mem", "disk"))
    assert used["mem"] > 0


async def test_an_older_start_that_fails_or_is_given_up_leaves_nothing(gateway: Gateway) -> None:
    await gateway.create("sync-fills", cpus=gateway.cpus * 0.9)
    large = {**SMALL, "cpus": gateway.cpus * 0.9}
    failed = await _call(gateway, "POST", f"{PREFIX}/start", {**large, "startup_timeout": 1})
    assert (failed["message"], failed["result"]["code"]) == ("start sandbox failed", 5000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await _call(gateway, "POST", f"{PREFIX}/start", large)
    async with asyncio.timeout(60):
        while len(alive := await _alive(gateway)) > 1:  # noqa: ASYNC110 - what is done for nobody tells nobody
            await asyncio.sleep(0.1)
    assert alive == ["sync-fills"]


async def _alive(gateway: Gateway) -> list[str]:
    listed = await gateway.call(LIST_SANDBOXES)
    return [each.sandbox_id for each in listed.sandboxes if each.state is not State.STOPPED]


async def test_a_life_after_its_end_is_told_as_rock_has_it(gateway: Gateway) -> None:
    about = {"sandbox_id": "rock-ended"}
    await _call(gateway, "POST", f"{PREFIX}/start", {**SMALL, **about, "auto_delete_seconds": 60})
    for call, said in (
        ("delete", "only a sandbox that has ended can be deleted"),
        ("restart", "current state is 'running'"),
        ("commit", "cannot be committed"),
    ):
        refused = await _call(gateway, "POST", f"{PREFIX}/{call}", about)
        assert (refused["result"]["code"], said in refused["error"]) == (4000, True), refused
    assert (await _call(gateway, "POST", f"{PREFIX}/stop", about))["result"] == "rock-ended stopped"
    for path in ("restart", "sandboxes/rock-ended/restart"):
        refused = await _call(gateway, "POST", f"{PREFIX}/{path}", about)
        assert refused["result"]["code"] == 4000
        assert "files do not survive a stop on Nomad" in refused["error"]
    hidden = await _call(gateway, "GET", f"{PREFIX}/get_status?sandbox_id=rock-ended")
    assert hidden["result"]["code"] == 4000
    assert "Sandbox rock-ended not found: sandbox rock-ended has ended: it was stopped by request" in hidden["error"]
    shown = await _call(gateway, "GET", f"{PREFIX}/get_status?sandbox_id=rock-ended&include_all_states=True")
    assert (shown["result"]["state"], shown["result"]["is_alive"]) == ("stopped", False)
    assert shown["result"]["state_history"][-1]["to_state"] == "stopped"
    listed = (await _call(gateway, "GET", f"{PREFIX}/sandboxes?state=stopped"))["result"]["items"]
    assert [each["sandbox_id"] for each in listed] == ["rock-ended"]
    for _ in range(2):
        assert (await _call(gateway, "POST", f"{PREFIX}/delete", about))["result"] == "rock-ended deleted"
    gone = await _call(gateway, "GET", f"{PREFIX}/get_status?sandbox_id=rock-ended&include_all_states=True")
    assert (gone["result"]["code"], "Sandbox rock-ended not found" in gone["error"]) == (4000, True)


async def test_a_registrys_password_is_taken_and_never_shown(embedded: Cluster) -> None:
    secret = "hunter2-of-the-registry"
    async with start_gateway(embedded, default_isolation="mock") as gateway:
        wanted = {**SMALL, "sandbox_id": "registry", "registry_username": "ann", "registry_password": secret}
        said = [await _call(gateway, "POST", f"{PREFIX}/start_async", wanted)]
        assert said[0]["status"] == "Success"
        said += [await _call(gateway, "GET", f"{PREFIX}/get_status?sandbox_id=registry")]
        said += [await _call(gateway, "GET", f"{PREFIX}/sandboxes")]
        job = await asyncio.to_thread(embedded.nomad, "GET", "/v1/job/sbx-registry")
        assert (job.status, secret in str((said, job.data))) == (200, False)


@pytest.mark.parametrize(
    ("method", "path", "body", "names"),
    [
        ("POST", "/start_async", {}, "image"),
        ("POST", "/start_async", {"image": " "}, "image"),
        ("POST", "/start_async", {"image": "a", "cpus": 20000}, "cpus is 20000.0; it must be vCPUs, more than 0 and"),
        ("POST", "/start_async", {"image": "a", "num_gpus": -1}, "num_gpus is -1; it must be"),
        ("POST", "/start_async", {"image": "a", "startup_timeout": 0}, "startup_timeout is 0.0; it must be seconds"),
        ("POST", "/start_async", {"image": "a", "pull": "often"}, "pull is 'often'; it must be one of always, missing"),
        ("POST", "/start_async", {"image": "a", "auto_clear_time_minutes": 0}, "auto_clear_time_minutes is 0; it must"),
        (
            "POST",
            "/start_async",
            {"image": "a", "auto_archive_seconds": 1, "auto_delete_seconds": 1},
            "auto_archive_seconds is 1; it must be left out where auto_delete_seconds is set",
        ),
        ("POST", "/start_async", {"image": "a", "cpus": "many"}, "cpus is 'many'; it must be a number"),
        ("POST", "/start_async", {"image": "a", "memory": "8x"}, "memory"),
        ("POST", "/start_async", {"image": "a", "memory": "1b"}, "memory"),
        ("POST", "/start_async", {"image": "a", "disk": "large"}, "disk"),
        ("POST", "/start_async", {"image": "a", "image_os": "windows"}, "image_os"),
        (
            "POST",
            "/start_async",
            {"image": "a", "accelerator_type": "H100"},
            "accelerator_type is 'H100'; it must be left out, or num_gpus at least 1",
        ),
        ("POST", "/start_async", {"image": "a", "auto_delete_seconds": -1}, "auto_delete_seconds"),
        ("POST", "/start_async", {"image": "a", "registry_username": "ann"}, "registry_password"),
        (
            "POST",
            "/start_async",
            {"image": "a", "use_kata_runtime": True},
            "use_kata_runtime is True; it must be left out: this cluster offers raw_exec, mock",
        ),
        ("POST", "/start_async", {"image": "a", "sandbox_id": "Not An Id"}, "sandbox_id"),
        ("POST", "/start_async", [], "$"),
        ("GET", "/get_status", None, "sandbox_id"),
        ("GET", "/get_status?sandbox_id=unknown", None, "unknown"),
        ("GET", "/is_alive?sandbox_id=unknown", None, "unknown"),
        ("GET", "/get_sandbox_statistics?sandbox_id=unknown", None, "Sandbox unknown not found"),
        ("GET", "/sandboxes?page=0", None, "page"),
        ("GET", "/sandboxes?colour=red", None, "colour"),
        ("POST", "/sandboxes/batch", {"sandbox_ids": ["a"] * 2001}, "sandbox_ids"),
        ("POST", "/delete", {}, "sandbox_id"),
        ("POST", "/restart", {"sandbox_id": "unknown"}, "Sandbox unknown not found"),
        ("POST", "/sandboxes/unknown/archive", {}, "unknown"),
        ("POST", "/start", {}, "image"),
        ("POST", "/commit", {"sandbox_id": "unknown", "image_tag": "a"}, "SANDBOX_NOT_FOUND"),
        ("GET", "/commit/unknown", None, "Sandbox unknown not found"),
        ("POST", "/warmup/tasks", {"image": "python:3.11"}, "there is no warm-up"),
        ("POST", "/ops/tasksets", {"spec": {}}, "there are no task sets"),
        ("GET", "/ops/tasksets/any", None, "there are no task sets"),
        ("GET", "/sandboxes/a/mount-infos", None, "nomad alloc status"),
        ("GET", "/get_nacos_config", None, "there is no Nacos"),
        ("POST", "/host/proxy/execute", {}, "/sandboxes/{id}/proxy"),
        ("POST", "/run_in_session", {"sandbox_id": "a"}, "command"),
        ("POST", "/run_in_session", {"sandbox_id": "a", "command": "true", "check": "maybe"}, "check"),
        ("POST", "/run_in_session", {"sandbox_id": "a", "command": "true", "timeout": -1}, "timeout"),
        ("POST", "/run_in_session", {"sandbox_id": "unknown", "command": "true"}, "unknown"),
        ("POST", "/create_session", {"sandbox_id": "a", "session_type": "zsh"}, "session_type"),
        ("POST", "/create_session", {"sandbox_id": "a", "session": ""}, "session"),
        ("POST", "/execute", {"sandbox_id": "a", "command": []}, "command is []; it must be"),
        ("POST", "/execute", {"sandbox_id": "a", "command": {}}, "command is {}; it must be a text or a list"),
        ("POST", "/execute", {"sandbox_id": "a", "command": "x", "timeout": "x"}, "timeout is 'x'; it must be a num"),
        ("POST", "/read_file", {"sandbox_id": "a", "path": ""}, "path"),
        ("POST", "/write_file", {"sandbox_id": "a", "path": "/x"}, "content"),
        ("POST", "/upload", {}, "multipart/form-data"),
    ],
)
async def test_a_bad_call_is_answered_in_rocks_codes_and_names_what_is_wrong(
    embedded_gateway: Gateway, method: str, path: str, body: object, names: str
) -> None:
    said = await _call(embedded_gateway, method, f"{PREFIX}{path}", body)
    assert (said["status"], said["result"]["code"]) == ("Failed", 4000)
    assert names in said["error"]
    assert said["result"]["failure_reason"] == said["error"]


async def test_who_shows_no_good_key_is_told_so_in_the_envelope(embedded_gateway: Gateway) -> None:
    said = await _call(embedded_gateway, "GET", f"{PREFIX}/get_token", **{"XRL-Authorization": ""})
    assert (said["status"], said["result"]["code"]) == ("Failed", 4000)
    assert "API key" in said["error"]


async def test_a_path_that_nobody_serves_is_none(embedded_gateway: Gateway) -> None:
    headers = {"X-API-Key": embedded_gateway.key}
    async with embedded_gateway.session.get(f"{embedded_gateway.url}{PREFIX}/nothing", headers=headers) as reply:
        assert (reply.status, (await reply.json())["status"]) == (404, "Failed")
