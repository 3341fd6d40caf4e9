from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from rock.wire.errors import ClusterUnavailable
from rock_nomad.config import ConsulConfig
from rock_nomad.consul import LONG_POLLS, Consul, Right
from rock_nomad.embedded.routes import CONSUL_COMMON, CONSUL_ROUTES
from rock_nomad.loopback.acl import make_consul_token
from rock_nomad.loopback.api import Api
from tests.cluster import Cluster
from tests.rock_nomad.recorder import Recorder, record
from tests.rock_nomad.samples import recording


@pytest.fixture
async def consul(cluster: Cluster) -> AsyncIterator[Consul]:
    config = ConsulConfig(url=cluster.consul_url, token=SecretStr(cluster.consul_token))
    async with Consul(config) as consul:
        yield consul


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    async with record() as recorder:
        yield recorder


def _health(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a health answer, each the recorded one with changes to its Service, and its checks' status."""
    [recorded] = recording("consul-health")
    made = []
    for row in rows:
        status = row.pop("status", "passing")
        made.append({**recorded, "Service": {**recorded["Service"], **row}, "Checks": [{"Status": status}]})
    return made


# --------------------------------------------------------------------------------------------------- against agents


@pytest.mark.slow
async def test_a_name_that_nobody_registered_has_no_rocklet(consul: Consul) -> None:
    index, services = await consul.rocklets("rocklet-nobody")
    assert index > 0
    assert services == []
    assert await consul.find_rocklet("rocklet-nobody") is None


@pytest.mark.slow
async def test_a_wait_ends_by_itself(consul: Consul) -> None:
    index, _services = await consul.rocklets("rocklet-nobody")
    async with asyncio.timeout(60):
        while (await consul.rocklets("rocklet-nobody", index=index, wait=0.2))[0] != index:
            index, _services = await consul.rocklets("rocklet-nobody")


@pytest.mark.slow
async def test_a_wait_can_be_given_up(consul: Consul) -> None:
    index, _services = await consul.rocklets("rocklet-nobody")
    waiter = asyncio.create_task(consul.rocklets("rocklet-nobody", index=index + 10_000, wait=30))
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert await consul.find_rocklet("rocklet-nobody") is None


@pytest.mark.slow
async def test_entries_are_written_once_by_compare_and_set(consul: Consul) -> None:
    key = "rock/test/a key"
    assert await consul.kv_put(key, b"\x00\xff", cas=0)
    assert not await consul.kv_put(key, b"second", cas=0)
    entry = await consul.kv_get(key)
    assert entry is not None
    assert (entry.key, entry.value) == (key, b"\x00\xff")
    assert await consul.kv_put(key, b"", cas=entry.modify_index)
    assert not await consul.kv_put(key, b"late", cas=entry.modify_index)
    assert [each.value for each in await consul.kv_list("rock/test/")] == [b""]
    assert await consul.kv_delete(key)
    assert await consul.kv_get(key) is None
    assert await consul.kv_list("rock/test/") == []


@pytest.mark.slow
async def test_the_agent_says_who_it_is(consul: Consul) -> None:
    assert (await consul.agent())["Config"]["Version"]


# --------------------------------------------------------------------------------------------- what we send and read


async def test_a_recorded_answer_is_read(recorder: Recorder) -> None:
    recorder.answers["/v1/health/service/rocklet-t1"] = (200, recording("consul-health"))
    async with Consul(ConsulConfig(url=recorder.url)) as consul:
        index, [service] = await consul.rocklets("rocklet-t1")
    assert (index, service.address, service.port, service.status) == (7, "127.0.0.1", 24584, "passing")
    assert service.alloc_id == service.meta["alloc_id"] == "0de4db15-1611-fdc9-7577-c09fe51ad86e"


async def test_the_healthiest_and_newest_registration_comes_first(recorder: Recorder) -> None:
    recorder.answers["/v1/health/service/rocklet-a"] = (
        200,
        _health(
            {"Port": 1, "CreateIndex": 9, "status": "critical"},
            {"Port": 2, "CreateIndex": 5},
            {"Port": 3, "CreateIndex": 7, "Address": ""},
        ),
    )
    async with Consul(ConsulConfig(url=recorder.url)) as consul:
        _index, services = await consul.rocklets("rocklet-a")
    assert [service.port for service in services] == [3, 2, 1]
    assert services[0].address == "127.0.0.1"
    assert services[-1].status == "critical"


async def test_our_token_goes_along_and_the_environments_does_not(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "environment")
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
    for token in (SecretStr("ours"), None):
        async with Consul(ConsulConfig(url=recorder.url, token=token)) as consul:
            await consul.agent()
            await consul.kv_list("rock/")
    assert [seen.headers.get("X-Consul-Token") for seen in recorder.seen] == ["ours", "ours", None, None]


@pytest.mark.parametrize(("status", "said"), [(403, "refuses the gateway's token"), (500, "failed"), (429, "failed")])
async def test_what_consul_refuses_is_an_unavailable_cluster_with_its_words(
    recorder: Recorder, status: int, said: str
) -> None:
    recorder.answers["/v1/kv/a"] = (status, b"Permission denied, or No cluster leader")
    async with Consul(ConsulConfig(url=recorder.url)) as consul:
        with pytest.raises(ClusterUnavailable, match=f"{said}.*Permission denied"):
            await consul.kv_get("a")


async def test_a_consul_that_is_not_there_is_named_by_its_address() -> None:
    async with Consul(ConsulConfig(url="http://127.0.0.1:1")) as consul:
        with pytest.raises(ClusterUnavailable, match=r"does not answer at http://127\.0\.0\.1:1"):
            await consul.agent()


RIGHTS = [
    Right(resource="service", segment="rocklet-a", access="read"),
    Right(resource="key", segment="", access="write"),
]


async def test_rights_are_asked_for_by_name(recorder: Recorder) -> None:
    recorder.answers["/v1/internal/acl/authorize"] = (200, [{"Allow": True}, {"Allow": False}])
    async with Consul(ConsulConfig(url=recorder.url, token=SecretStr("ours"))) as consul:
        assert await consul.are_granted(RIGHTS) == [True, False]
    [seen] = recorder.seen
    assert seen.headers["X-Consul-Token"] == "ours"
    assert json.loads(seen.body)[0] == {"Resource": "service", "Segment": "rocklet-a", "Access": "read"}


async def test_without_acls_every_right_is_granted_and_a_token_unknown_is_an_error(recorder: Recorder) -> None:
    async with Consul(ConsulConfig(url=recorder.url)) as consul:
        recorder.answers["/v1/internal/acl/authorize"] = (401, b"ACL support disabled")
        assert await consul.are_granted(RIGHTS) == [True, True]
        recorder.answers["/v1/internal/acl/authorize"] = (403, b"ACL not found")
        with pytest.raises(ClusterUnavailable, match="ACL not found") as caught:
            await consul.are_granted(RIGHTS)
    assert caught.value.details["status"] == 403


async def test_whether_we_may_see_is_asked_once_a_minute_not_once_a_sandbox(recorder: Recorder) -> None:
    recorder.answers["/v1/internal/acl/authorize"] = (200, [{"Allow": True}, {"Allow": True}])
    for number in range(50):
        recorder.answers[f"/v1/health/service/rocklet-{number}"] = (200, [])
    async with Consul(ConsulConfig(url=recorder.url)) as consul:
        found = await asyncio.gather(*(consul.find_rocklet(f"rocklet-{number}") for number in range(50)))
    assert found == [None] * 50
    assert sum(seen.path == "/v1/internal/acl/authorize" for seen in recorder.seen) == 1


@pytest.mark.slow
@pytest.mark.needs("ACLs")
@pytest.mark.parametrize(
    ("rules", "right"),
    [
        ("", "service and node read"),
        ('node_prefix "" { policy = "read" }', "service read"),
        ('service_prefix "rocklet-" { policy = "read" }', "node read"),
    ],
)
async def test_what_a_token_may_not_see_is_not_taken_for_absent(cluster: Cluster, rules: str, right: str) -> None:
    management = Api(cluster.consul_url, "X-Consul-Token", cluster.consul_token)
    name = f"lacks-{right.replace(' ', '-')}"
    management.call("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules})
    token = SecretStr(make_consul_token(management, name))
    async with Consul(ConsulConfig(url=cluster.consul_url, token=token)) as consul:
        with pytest.raises(ClusterUnavailable, match=r"grant it what jobspecs/acl-consul\.hcl does") as caught:
            await consul.find_rocklet("rocklet-nobody")
    assert caught.value.details == {"status": 403, "right": right}
    async with Consul(cluster.consul_config()) as consul:
        assert await consul.find_rocklet("rocklet-nobody") is None


@pytest.mark.slow
@pytest.mark.needs("ACLs")
async def test_a_token_that_is_no_more_is_an_error_with_its_remedy(cluster: Cluster) -> None:
    management = Api(cluster.consul_url, "X-Consul-Token", cluster.consul_token)
    made = management.call("PUT", "/v1/acl/token", {"Policies": [{"Name": "rock-gateway"}]}).data
    async with Consul(ConsulConfig(url=cluster.consul_url, token=SecretStr(made["SecretID"]))) as consul:
        assert await consul.find_rocklet("rocklet-nobody") is None
        management.call("DELETE", f"/v1/acl/token/{made['AccessorID']}")  # as Consul does when one expires
        with pytest.raises(ClusterUnavailable, match="ACL not found; give the gateway another"):
            await consul.find_rocklet("rocklet-nobody")


async def test_everything_we_send_is_in_the_embedded_clusters_table(recorder: Recorder) -> None:
    recorder.answers["/v1/health/service/rocklet-a"] = (200, [])
    recorder.answers["/v1/kv/a"] = (200, [])
    recorder.answers["/v1/internal/acl/authorize"] = (200, [{"Allow": True}, {"Allow": True}])
    async with Consul(ConsulConfig(url=recorder.url)) as consul:
        await consul.rocklets("rocklet-a")
        await consul.rocklets("rocklet-a", index=3, wait=0.1)
        await consul.kv_get("a")
        await consul.kv_list("a")
        await consul.kv_put("a", b"", cas=0)
        await consul.kv_delete("a", cas=1, recurse=True)
        await consul.agent()
    assert len(recorder.seen) == 8  # of which one asks whether what we do not see is not there
    for seen in recorder.seen:
        [route] = [each for each in CONSUL_ROUTES if each.method == seen.method and _is_at(each.path, seen.path)]
        assert set(seen.query) <= route.query | CONSUL_COMMON


def _is_at(pattern: str, path: str) -> bool:
    return bool(re.fullmatch(re.sub(r"\{[^}]*\}", ".+", pattern), path))


@pytest.mark.slow
async def test_long_polls_leave_room_for_other_calls(consul: Consul) -> None:
    index, _services = await consul.rocklets("rocklet-nobody")
    async with asyncio.timeout(60), asyncio.TaskGroup() as waiters:
        polls = [
            waiters.create_task(consul.rocklets("rocklet-nobody", index=index + 10_000, wait=30))
            for _ in range(2 * LONG_POLLS)
        ]
        assert (await consul.agent())["Config"]
        for poll in polls:
            poll.cancel()
