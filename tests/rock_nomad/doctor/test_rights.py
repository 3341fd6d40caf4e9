from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from rock.wire.errors import ClusterUnavailable
from rock.wire.spec import Isolation
from rock_nomad.config import ClusterProfile, NomadConfig, RockletArchive
from rock_nomad.consul import Consul
from rock_nomad.doctor.rights import consul_policy, nomad_policy, try_consul, try_nomad
from rock_nomad.nomad import Nomad
from tests.cluster import Cluster
from tests.rock_nomad.recorder import Recorder, record

PROBE = "/v1/job/sbx-doctor--probe"
DENIED = (403, b"Permission denied")
NOTHING_THERE = (500, b"Enforcing job modify index 1: job does not exist")
PROFILE = ClusterProfile()


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    async with record() as recorder:
        recorder.answers[PROBE] = NOTHING_THERE
        recorder.answers["/v1/jobs"] = recorder.answers["/v1/nodes"] = (200, [])
        yield recorder


async def _missing(recorder: Recorder, profile: ClusterProfile = PROFILE) -> list[str]:
    async with Nomad(NomadConfig(url=recorder.url)) as nomad:
        return list((await try_nomad(nomad, profile)).missing)


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("/v1/agent/self", ["agent read"]),
        ("/v1/nodes", ["node read"]),
        ("/v1/jobs", ["list-jobs"]),
        (f"{PROBE}/plan", ["plan-job"]),
        (f"/v1/var/nomad/jobs/{PROBE.rpartition('/')[2]}", ["variables at nomad/jobs/sbx-*"]),
        (PROBE, ["read-job", "register-job", "deregister-job", "purge-job"]),
    ],
)
async def test_a_right_that_is_missing_is_named_as_policies_write_it(
    recorder: Recorder, path: str, missing: list[str]
) -> None:
    assert await _missing(recorder) == []
    recorder.answers[path] = DENIED
    assert await _missing(recorder) == missing


async def test_what_nomad_says_against_the_job_itself_is_kept(recorder: Recorder) -> None:
    recorder.answers[PROBE] = (404, b"job not found")
    recorder.answers[f"{PROBE}/plan"] = (500, b'job "x" is in nonexistent node pool "gpu"')
    async with Nomad(NomadConfig(url=recorder.url)) as nomad:
        rights = await try_nomad(nomad, PROFILE)
    assert rights.missing == []
    assert 'nonexistent node pool "gpu"' in rights.complaint


async def test_the_probe_says_what_a_sandboxs_job_would_and_cannot_be_registered(recorder: Recorder) -> None:
    profile = ClusterProfile(namespace="rl", node_pool="gpu", rocklet_volume="bundle", isolations=("runc",))
    await _missing(recorder, profile)
    [*plain, with_volume] = [each.body for each in recorder.seen if each.method == "POST" and each.path == PROBE]
    assert all('"EnforceIndex": true, "JobModifyIndex": 1' in body for body in (*plain, with_volume))
    assert all('"Namespace": "rl"' in body and '"NodePool": "gpu"' in body for body in (*plain, with_volume))
    assert '"Source": "bundle"' in with_volume
    assert not any("bundle" in body for body in plain)


@pytest.mark.parametrize(
    "profile",
    [
        ClusterProfile(isolations=("raw_exec",), default_isolation="raw_exec"),
        ClusterProfile(rocklet_archive=RockletArchive(url="http://a/rocklet.tar.gz", sha256="0f" * 32)),
    ],
    ids=["raw_exec", "fetched"],
)
async def test_no_volume_is_asked_for_where_none_is_mounted(recorder: Recorder, profile: ClusterProfile) -> None:
    await _missing(recorder, profile)
    assert not any("Volumes" in each.body for each in recorder.seen)


@pytest.mark.slow
async def test_trying_changes_nothing_and_finds_all_granted(cluster: Cluster) -> None:
    async with Nomad(cluster.nomad_config()) as nomad, Consul(cluster.consul_config()) as consul:
        # The embedded cluster has no volumes.
        isolation: Isolation = "raw_exec" if cluster.kind == "embedded" else "runc"
        rights = await try_nomad(nomad, ClusterProfile(isolations=(isolation,)))
        assert (rights.missing, rights.complaint) == ([], "")
        assert await nomad.job("sbx-doctor--probe") is None
        assert (await nomad.list_variables("nomad/jobs/sbx-doctor--probe")).data == []
        if cluster.kind == "real":
            assert (await try_consul(consul)).missing == []


@pytest.mark.slow
async def test_a_pool_that_is_not_there_is_a_complaint(cluster: Cluster) -> None:
    async with Nomad(cluster.nomad_config()) as nomad:
        assert "nope" in (await try_nomad(nomad, ClusterProfile(node_pool="nope"))).complaint


def test_the_policies_are_for_the_profile() -> None:
    policy = nomad_policy(ClusterProfile(namespace="rl-team", rocklet_volume="rocklet-1-4"))
    assert 'namespace "rl-team"' in policy
    assert 'host_volume "rocklet-1-4"' in policy
    assert 'service_prefix "rocklet-"' in consul_policy()


@pytest.mark.slow
@pytest.mark.needs("ACLs")
async def test_a_token_of_fewer_rights_is_told_which_it_lacks(cluster: Cluster) -> None:
    rules = {"Name": "listing", "Rules": 'namespace "default" { capabilities = ["list-jobs", "register-job"] }'}
    assert cluster.nomad("PUT", "/v1/acl/policy/listing", rules).status == 200
    token = cluster.nomad("PUT", "/v1/acl/token", {"Type": "client", "Policies": ["listing"]}).data["SecretID"]
    config = cluster.nomad_config().model_copy(update={"token": SecretStr(token)})
    async with Nomad(config) as nomad:
        missing = (await try_nomad(nomad, PROFILE)).missing
    jobs = ["read-job", "plan-job", "deregister-job", "purge-job"]
    rest = [*jobs, "variables at nomad/jobs/sbx-*", "host_volume rocklet read"]
    assert missing == ["agent read", "node read", *rest]


@pytest.mark.slow
@pytest.mark.needs("ACLs")
async def test_a_consul_token_that_would_see_empty_lists_is_told_so(cluster: Cluster) -> None:
    token = cluster.consul("PUT", "/v1/acl/token", {"Policies": []}).data["SecretID"]
    config = cluster.consul_config()
    async with Consul(config.model_copy(update={"token": SecretStr(token)})) as consul:
        assert (await try_consul(consul)).missing == ["agent read", "node read", "service rocklet- read"]
    async with Consul(config.model_copy(update={"token": SecretStr("11111111-2222-3333-4444-555555555555")})) as consul:
        with pytest.raises(ClusterUnavailable, match="ACL not found"):
            await try_consul(consul)
