from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock.wire.errors import InvalidRequest
from rock.wire.spec import Isolation, Registry, SandboxSpec
from rock_nomad.bundle import bundle_command
from rock_nomad.config import ClusterProfile, ContainerProfile, RockletArchive
from rock_nomad.job_keys import unknown_keys
from rock_nomad.jobspec import (
    gpu_pattern,
    job_warnings,
    max_run_seconds,
    mebibytes,
    reads_credentials,
    render_job,
    spec_hash,
)
from tests.rock_nomad.samples import BASE, PROFILE, render

texts = st.text(st.sampled_from("aé$ {}\"'\\%#\u2028😀"), max_size=12)
names = st.text(st.sampled_from("ABC_abc019"), min_size=1, max_size=8).map(lambda name: f"X{name}")
isolations: st.SearchStrategy[Isolation] = st.sampled_from(["runc", "exec", "raw_exec", "mock"])
specs = st.builds(
    SandboxSpec,
    image=st.sampled_from(["python:3.11", "registry.internal/swe/django@sha256:abc"]),
    cpus=st.floats(0.001, 1024),
    memory_bytes=st.integers(16 * 2**20, 2**50),
    disk_bytes=st.none() | st.integers(2**20, 2**60),
    gpus=st.integers(1, 8),
    gpu_type=st.none() | st.sampled_from(["H100", "A10G", "RTX 4090 (x)"]),
    gpu_memory_bytes=st.none() | st.integers(1, 2**50),
    isolation=isolations,
    env=st.dictionaries(names, texts, max_size=3),
    labels=st.dictionaries(st.sampled_from(["a", "run.id", "x-y"]), texts, max_size=3),
    registry=st.none() | st.just(Registry(username="someone", password="hunter2-password")),
    startup_timeout=st.floats(0.1, 31_536_000),
    idle_timeout=st.floats(0.1, 31_536_000),
    max_lifetime=st.floats(0.1, 86_400),
    lease=st.none() | st.floats(0.1, 31_536_000),
)


def _leaves(node: object, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}")
    elif isinstance(node, list):
        for position, value in enumerate(node):
            yield from _leaves(value, f"{path}[{position}]")
    else:
        yield path, node


def _task(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["TaskGroups"][0]["Tasks"][0])


def _refusal(spec: SandboxSpec, profile: ClusterProfile = PROFILE) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        render(spec, profile=profile)
    assert refused.value.details["field"] in refused.value.message
    assert refused.value.details["expected"] in refused.value.message
    return refused.value


# ------------------------------------------------------------------------------------------------ what always holds


@given(specs)
def test_every_sandbox_is_one_batch_job_that_is_never_restarted_or_replaced(spec: SandboxSpec) -> None:
    job = render(spec, sandbox_id="a-1")
    group = job["TaskGroups"][0]
    assert (job["ID"], job["Type"], len(job["TaskGroups"]), group["Count"]) == ("sbx-a-1", "batch", 1, 1)
    assert group["RestartPolicy"]["Attempts"] == 0
    assert group["ReschedulePolicy"]["Attempts"] == 0
    assert group["ReschedulePolicy"]["Unlimited"] is False
    assert group["Disconnect"]["Replace"] is False
    assert group["Disconnect"]["LostAfter"] == group["MaxRunDuration"] + 3600 * 10**9
    assert group["MaxRunDuration"] / 10**9 >= max_run_seconds(spec) >= spec.startup_timeout + spec.max_lifetime + 60


@given(specs)
def test_every_key_is_nomads_and_every_duration_a_whole_number_of_nanoseconds(spec: SandboxSpec) -> None:
    job = json.loads(json.dumps(render(spec), allow_nan=False))
    assert list(unknown_keys(job)) == []
    durations = re.compile(r"(Duration|LostAfter|Interval|Delay|KillTimeout|Timeout)$")
    values = [value for path, value in _leaves(job["TaskGroups"]) if durations.search(path)]
    assert len(values) >= 6
    assert all(isinstance(value, int) for value in values)


@given(specs)
def test_no_credential_stands_anywhere_in_a_job(spec: SandboxSpec) -> None:
    text = json.dumps(render(spec))
    assert "hunter2" not in text
    assert "someone" not in text


@given(specs)
def test_nothing_of_the_users_is_interpolated_and_all_of_it_arrives(spec: SandboxSpec) -> None:
    job = render(spec)
    env = _task(job)["Env"]
    assert "$" not in env["ROCKLET_ENV"]
    assert json.loads(env["ROCKLET_ENV"]) == spec.env
    assert "$" not in job["Meta"]["spec"]
    kept = msgspec.json.decode(job["Meta"]["spec"], type=SandboxSpec)
    assert kept == msgspec.structs.replace(spec, env={}, registry=None)


@given(specs)
def test_a_sandbox_gets_no_less_than_it_asked_for(spec: SandboxSpec) -> None:
    job = render(spec)
    resources = _task(job)["Resources"]
    assert resources["MemoryMB"] * 2**20 >= spec.memory_bytes > (resources["MemoryMB"] - 1) * 2**20
    assert resources["CPU"] >= spec.cpus * 1000 > resources["CPU"] - 1
    assert job["TaskGroups"][0]["EphemeralDisk"]["SizeMB"] * 2**20 >= (spec.disk_bytes or PROFILE.default_disk_bytes)
    assert resources["Devices"][0]["Count"] == spec.gpus


@given(specs)
def test_rendering_is_pure(spec: SandboxSpec) -> None:
    base = copy.deepcopy(BASE)
    first = render(spec)
    assert render(spec) == first
    assert base == BASE


# -------------------------------------------------------------------------------------------------- what stands where


def test_the_service_is_the_tasks_own_and_tells_the_read_path_all_it_asks() -> None:
    job = render(sandbox_id="a-1")
    [service] = _task(job)["Services"]
    assert "Services" not in job["TaskGroups"][0]
    assert (service["Name"], service["Provider"], service["PortLabel"]) == ("rocklet-a-1", "consul", "rocklet")
    assert service["Meta"] == {
        "sandbox_id": "a-1",
        "tenant": "red",
        "managed_by": "here",
        "secret": "5ec0de",
        "alloc_id": "${NOMAD_ALLOC_ID}",
    }
    [check] = service["Checks"]
    assert (check["Type"], check["Path"], check["InitialStatus"]) == ("http", "/is_alive", "critical")


def test_the_jobs_meta_says_whose_and_what_it_is() -> None:
    meta = render(SandboxSpec(image="x:1", startup_timeout=1234567.5), sandbox_id="a")["Meta"]
    assert {key: meta[key] for key in ("sandbox_id", "tenant", "managed_by", "isolation", "startup_timeout")} == {
        "sandbox_id": "a",
        "tenant": "red",
        "managed_by": "here",
        "isolation": "raw_exec",
        "startup_timeout": "1234567.5",
    }
    assert meta["spec_hash"] == "d" * 64
    assert all(isinstance(value, str) for value in meta.values())


def test_the_rocklet_is_told_its_clocks_in_plain_numbers() -> None:
    env = _task(render(SandboxSpec(idle_timeout=31_536_000, max_lifetime=0.25, lease=30.5, ports=[80, 8080])))["Env"]
    assert env["ROCKLET_IDLE_TIMEOUT"] == "31536000"
    assert env["ROCKLET_MAX_LIFETIME"] == "0.25"
    assert env["ROCKLET_LEASE"] == "30.5"
    assert env["ROCKLET_PORTS"] == "[80, 8080]"
    assert env["ROCKLET_TOKEN_SHA256"] == "e" * 64
    assert "ROCKLET_LEASE" not in _task(render())["Env"]


@pytest.mark.parametrize(("isolation", "told"), [("runc", "1"), ("gvisor", "1"), ("exec", None), ("raw_exec", None)])
def test_only_a_container_is_told_that_its_ports_are_its_own(isolation: Isolation, told: str | None) -> None:
    assert _task(render(SandboxSpec(isolation=isolation)))["Env"].get("ROCKLET_OWNS_NETWORK") == told


def test_on_raw_exec_a_rocklet_of_the_node_listens_where_nomad_says() -> None:
    task = _task(render(profile=PROFILE.model_copy(update={"rocklet_command": ("/usr/bin/rocklet", "-v")})))
    assert task["Driver"] == "raw_exec"
    assert task["Config"] == {
        "command": "/usr/bin/rocklet",
        "args": ["-v", "--host", "${NOMAD_IP_rocklet}", "--port", "${NOMAD_PORT_rocklet}"],
    }
    assert task["Env"]["ROCKLET_HOME"] == "${NOMAD_TASK_DIR}"


def test_in_a_container_the_rocklet_comes_by_volume_and_the_runtime_is_a_constraint() -> None:
    job = render(SandboxSpec(image="x:1", isolation="gvisor", cpus=2, limit_cpus=2, pull="always"))
    group, task = job["TaskGroups"][0], _task(job)
    assert task["Driver"] == "docker"
    assert task["Config"]["image"] == "x:1"
    assert task["Config"]["runtime"] == "runsc"
    assert task["Config"]["force_pull"] is True
    assert task["Config"]["cpu_hard_limit"] is True
    assert task["Constraints"] == [
        {"LTarget": "${attr.driver.docker.runtimes}", "Operand": "set_contains", "RTarget": "runsc"}
    ]
    assert group["Volumes"]["rocklet"]["ReadOnly"] is True
    assert task["VolumeMounts"][0]["Destination"] == "/opt/rocklet"
    assert task["Config"]["entrypoint"] == list(bundle_command("/opt/rocklet"))
    assert group["Networks"][0]["DynamicPorts"] == [{"Label": "rocklet", "To": 22555}]


def test_what_an_image_has_every_program_load_does_not_reach_the_rocklet() -> None:
    assert _task(render(SandboxSpec(isolation="runc")))["Env"]["LD_PRELOAD"] == ""
    assert "LD_PRELOAD" not in _task(render(SandboxSpec(isolation="raw_exec")))["Env"]


def test_where_nodes_have_no_bundle_it_is_fetched_by_its_checksum_and_no_volume_is_asked_for() -> None:
    archive = RockletArchive(url="https://a.internal/rocklet-1.tar.gz", sha256="0f" * 32)
    profile = PROFILE.model_copy(update={"rocklet_archive": archive})
    job = render(SandboxSpec(isolation="runc"), profile=profile)
    task = _task(job)
    assert "Volumes" not in job["TaskGroups"][0]
    assert "VolumeMounts" not in task
    [artifact] = task["Artifacts"]
    assert artifact["GetterSource"] == "https://a.internal/rocklet-1.tar.gz"
    assert artifact["GetterOptions"] == {"checksum": f"sha256:{'0f' * 32}"}
    assert artifact["RelativeDest"] == "local/rocklet"
    assert task["Config"]["entrypoint"] == list(bundle_command("${NOMAD_TASK_DIR}/rocklet"))
    assert "Artifacts" not in _task(render(SandboxSpec(isolation="raw_exec"), profile=profile))


def test_a_container_is_as_the_profile_says_and_labelled_with_whose_it_is() -> None:
    limits = ContainerProfile(
        pids_limit=9, capabilities=("chown",), no_new_privileges=False, shm_bytes=2**20, tmpfs={"/scratch": 2**21},
        ulimits={"nofile": "5:6"}, image_pull_timeout=1.5,
    )  # fmt: skip
    profile = PROFILE.model_copy(update={"container": limits})
    config = _task(render(SandboxSpec(isolation="runc"), profile=profile))["Config"]
    assert (config["pids_limit"], config["cap_drop"], config["cap_add"]) == (9, ["all"], ["chown"])
    assert (config["security_opt"], config["shm_size"], config["image_pull_timeout"]) == ([], 2**20, "2s")
    assert config["mount"] == [{"type": "tmpfs", "target": "/scratch", "tmpfs_options": [{"size": 2**21}]}]
    assert config["ulimit"] == [{"nofile": "5:6"}]
    said = {"sandbox_id": "a", "tenant": "red", "cluster": "here"}
    assert config["labels"] == [{f"com.rock-nomad.{key}": value for key, value in said.items()}]
    assert _task(render(SandboxSpec(isolation="runc", shm_bytes=2**22)))["Config"]["shm_size"] == 2**22


def test_a_container_with_gpus_leaves_its_runtime_to_the_driver() -> None:
    assert "runtime" not in _task(render(SandboxSpec(isolation="runc", gpus=1)))["Config"]
    assert _task(render(SandboxSpec(isolation="runc")))["Config"]["runtime"] == "runc"


def test_credentials_stand_in_no_job_that_refers_to_their_variable() -> None:
    registry = Registry(username="me-myself", password="hunter2")
    job = render(SandboxSpec(isolation="runc", registry=registry))
    assert "hunter2" not in str(job)
    assert "me-myself" not in str(job)
    task = _task(job)
    assert task["Secrets"] == [{"Name": "registry", "Provider": "nomad", "Path": "nomad/jobs/sbx-a"}]
    assert task["Config"]["auth"] == [
        {"username": "${secret.registry.username}", "password": "${secret.registry.password}"}
    ]
    assert reads_credentials(job)
    for spec in (SandboxSpec(isolation="runc"), SandboxSpec(isolation="raw_exec", registry=registry)):
        assert not reads_credentials(render(spec))


def test_a_container_without_gpus_cannot_have_any_leaked_to_it() -> None:
    assert _task(render(SandboxSpec(isolation="runc")))["Env"]["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert "NVIDIA_VISIBLE_DEVICES" not in _task(render(SandboxSpec(isolation="runc", gpus=1)))["Env"]
    assert _task(render(SandboxSpec(isolation="raw_exec")))["Env"]["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in _task(render(SandboxSpec(isolation="raw_exec", gpus=1)))["Env"]


def test_a_mock_has_no_service_because_nobody_answers() -> None:
    task = _task(render(SandboxSpec(isolation="mock", max_lifetime=10.5)))
    assert task["Driver"] == "mock_driver"
    assert task["Config"] == {"run_for": "11s"}
    assert "Services" not in task


def test_gpus_are_one_block_with_their_constraints() -> None:
    spec = SandboxSpec(gpus=2, gpu_type="H100", gpu_memory_bytes=70 * 2**30 + 1)
    [device] = _task(render(spec))["Resources"]["Devices"]
    assert (device["Name"], device["Count"]) == ("nvidia/gpu", 2)
    assert [each["LTarget"] for each in device["Constraints"]] == ["${device.model}", "${device.attr.memory}"]
    assert device["Constraints"][1]["RTarget"] == "71681 MiB"


def test_an_operators_additions_stay() -> None:
    base = copy.deepcopy(BASE)
    base["Constraints"] = [{"LTarget": "${attr.cpu.arch}", "Operand": "=", "RTarget": "amd64"}]
    base["Meta"] = {"team": "rl", "tenant": "forged"}
    base["TaskGroups"][0]["Tasks"][0]["Env"] = {"HTTP_PROXY": "http://proxy"}
    job = render_job(
        SandboxSpec(), sandbox_id="a", tenant="red", digest="d", token_sha256="e", secret_name="s", profile=PROFILE,
        base=base,
    )  # fmt: skip
    assert job["Constraints"] == base["Constraints"]
    assert (job["Meta"]["team"], job["Meta"]["tenant"]) == ("rl", "red")
    assert _task(job)["Env"]["HTTP_PROXY"] == "http://proxy"


def test_the_profile_places_the_job() -> None:
    placing = {"namespace": "rl", "region": "eu", "datacenters": ("dc1",), "node_pool": "gpu"}
    profile = PROFILE.model_copy(update=placing)
    job = render(profile=profile)
    assert (job["Namespace"], job["Region"], job["Datacenters"], job["NodePool"]) == ("rl", "eu", ["dc1"], "gpu")
    assert render(SandboxSpec(node_pool="big"), profile=profile)["NodePool"] == "big"


# -------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("name", ["NVIDIA_VISIBLE_DEVICES", "ROCKLET_TOKEN_SHA256", "NOMAD_ADDR"])
def test_the_clusters_own_variables_are_refused(name: str) -> None:
    assert _refusal(SandboxSpec(env={name: "all"})).details["field"] == f"env.{name}"


@pytest.mark.parametrize(
    ("field", "limit"),
    [
        ("cpus", "max_cpus"),
        ("memory_bytes", "max_memory_bytes"),
        ("disk_bytes", "max_disk_bytes"),
        ("gpus", "max_gpus"),
        ("max_lifetime", "max_lifetime"),
    ],
)
def test_what_is_over_the_clusters_cap_is_refused_with_the_cap(field: str, limit: str) -> None:
    profile = PROFILE.model_copy(update={limit: 2**26})
    given_up = msgspec.structs.replace(SandboxSpec(memory_bytes=2**25), **{field: 2**26 + 1})
    refused = _refusal(given_up, profile)
    assert refused.details["field"] == field
    assert "at most 67108864" in refused.message


def test_an_isolation_that_is_not_offered_is_refused_with_those_that_are() -> None:
    profile = ClusterProfile(isolations=("runc", "gvisor"))
    assert "one of runc, gvisor" in _refusal(SandboxSpec(isolation="raw_exec"), profile).message


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (SandboxSpec(gpus=1, isolation="gvisor"), "gpus"),
        (SandboxSpec(gpu_type="H100"), "gpu_type"),
        (SandboxSpec(gpu_memory_bytes=1), "gpu_memory_bytes"),
        (SandboxSpec(cpus=2, limit_cpus=1), "limit_cpus"),
        (SandboxSpec(image="x:${NOMAD_TOKEN}"), "image"),
        (SandboxSpec(env={"A": "x" * 125_000}), "env"),
    ],
)
def test_what_contradicts_itself_or_cannot_be_carried_is_refused(spec: SandboxSpec, field: str) -> None:
    assert _refusal(spec).details["field"] == field


def test_what_is_recorded_and_not_done_is_said() -> None:
    assert job_warnings(SandboxSpec(image="x:1"), PROFILE)[0].startswith("the image x:1 is recorded but not used")
    assert job_warnings(SandboxSpec(isolation="runc"), PROFILE) == []


# ------------------------------------------------------------------------------------------------------------ hashes


def test_a_hash_is_of_what_was_said_and_not_of_how() -> None:
    said = spec_hash(b'{"cpus": 2.0, "image": "x", "lease": null}')
    assert said == spec_hash({"image": "x", "cpus": 2})
    assert said != spec_hash(b'{"cpus": 2, "image": "y"}')
    assert spec_hash(b"") == spec_hash(b"{}") == spec_hash({})


def test_a_hash_has_no_defaults_so_that_an_upgrade_keeps_it() -> None:
    assert spec_hash(b"{}") == hashlib.sha256(b"{}").hexdigest()
    assert spec_hash(msgspec.to_builtins(SandboxSpec())) == spec_hash(b"{}")


def test_a_hash_leaves_out_the_id_and_the_password() -> None:
    registry = {"username": "me", "password": "one"}
    changed = {**registry, "password": "two"}
    assert spec_hash({"registry": registry, "sandbox_id": "a"}) == spec_hash({"registry": changed})
    assert spec_hash({"registry": registry}) != spec_hash({"registry": {"username": "you", "password": "one"}})


# -------------------------------------------------------------------------------------------------------------- GPUs


@pytest.mark.parametrize(
    ("gpu_type", "model", "is_meant"),
    [
        ("H100", "NVIDIA H100 80GB HBM3", True),
        ("h100", "NVIDIA H100 80GB HBM3", True),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3", True),
        ("A10", "NVIDIA A10G", False),
        ("A10", "NVIDIA A100-SXM4", False),
        ("A100", "NVIDIA A100-SXM4", True),
        (".*", "NVIDIA A10G", False),
    ],
)
def test_a_gpu_type_means_whole_words_of_a_model(gpu_type: str, model: str, is_meant: bool) -> None:
    assert bool(re.search(gpu_pattern(gpu_type), model)) == is_meant


@given(st.integers(1, 2**60))
def test_mebibytes_round_up(size: int) -> None:
    assert (mebibytes(size) - 1) * 2**20 < size <= mebibytes(size) * 2**20
