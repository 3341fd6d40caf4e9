from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock.wire.spec import SandboxSpec
from rock_nomad.placement import Ask, Verdict, explain
from tests.rock_nomad.samples import recording, render

NODES = recording("nodes")
GPU_NODES = [recording("gpu-node")]
GIB = 2**30
POOL = {"NodePool": "default", "Datacenters": ["*"]}


def _failed(name: str) -> dict[str, Any]:
    return dict(next(iter(recording(name)["FailedTGAllocs"].values())))


def _ask(**wanted: Any) -> Ask:  # noqa: ANN401 - SandboxSpec's fields
    return Ask.from_job(POOL, SandboxSpec(**{"cpus": 1, "memory_bytes": GIB, **wanted}))


@pytest.mark.parametrize(
    ("name", "ask", "kind", "message"),
    [
        (
            "eval-bigmem",
            _ask(memory_bytes=900 * GIB),
            "impossible",
            "0 of 1 nodes: 1 short of memory (asked 900 GB, the largest node has 23.5 GB)",
        ),
        (
            "eval-bigcpu",
            _ask(cpus=100),
            "impossible",
            "0 of 1 nodes: 1 short of cpu (asked 100 CPUs, the largest node has 5.192 CPUs)",
        ),
        (
            "eval-blocked",
            _ask(memory_bytes=20 * GIB),
            "busy",
            "0 of 1 nodes: 1 short of memory (asked 20 GB, the largest node has 23.5 GB)",
        ),
        ("eval-nodriver", _ask(), "driver", "0 of 1 nodes: 1 without a healthy driver for this isolation"),
        ("eval-no-runtime", _ask(), "driver", "0 of 1 nodes: 1 without the runtime runsc"),
        ("eval-nogpu", _ask(gpus=1), "impossible", "0 of 1 nodes: 1 without 1 x GPU (there are none)"),
    ],
)
def test_a_recorded_failure_is_a_sentence_and_a_kind(name: str, ask: Ask, kind: str, message: str) -> None:
    verdict = explain(_failed(name), ask, NODES)
    assert (verdict.kind, verdict.message) == (kind, message)


@pytest.mark.parametrize(
    ("name", "ask", "kind"),
    [
        ("gpu-eval-missing-model", _ask(gpus=1, gpu_type="B200"), "impossible"),
        ("gpu-eval-missing-too-many", _ask(gpus=8), "impossible"),
        ("gpu-eval-missing-memory", _ask(gpus=1, gpu_memory_bytes=200 * GIB), "impossible"),
        ("gpu-eval-span-groups", _ask(gpus=3), "impossible"),
        ("gpu-eval-exhausted", _ask(gpus=2, gpu_type="H100"), "busy"),
        ("gpu-eval-all-unhealthy", _ask(gpus=1, gpu_type="A10G"), "busy"),
        ("gpu-eval-exhausted-by-unhealthy", _ask(gpus=1), "busy"),
    ],
)
def test_gpus_are_impossible_only_if_no_node_has_so_many_of_one_model(name: str, ask: Ask, kind: str) -> None:
    verdict = explain(_failed(name), ask, GPU_NODES)
    assert verdict.kind == kind
    assert "NVIDIA A10G, up to 1 on a node; NVIDIA H100 80GB HBM3, up to 2 on a node" in verdict.message


def test_sick_gpus_are_counted() -> None:
    nodes = copy.deepcopy(GPU_NODES)
    nodes[0]["NodeResources"]["Devices"][0]["Instances"][0]["Healthy"] = False
    verdict = explain(_failed("gpu-eval-exhausted-by-unhealthy"), _ask(gpus=2), nodes)
    assert verdict.kind == "busy"
    assert verdict.message.endswith("up to 2 on a node; 1 of 2 NVIDIA H100 80GB HBM3 sick on vm)")


def test_of_many_nodes_with_sick_gpus_some_are_named() -> None:
    nodes = [copy.deepcopy(GPU_NODES[0]) for _ in range(9)]
    for node in nodes:
        node["NodeResources"]["Devices"][0]["Instances"][0]["Healthy"] = False
    verdict = explain(_failed("gpu-eval-exhausted-by-unhealthy"), _ask(gpus=2), nodes)
    assert verdict.message.count("sick on") == 5
    assert verdict.message.endswith("; and on 4 more nodes)")


def test_nothing_is_impossible_where_nodes_are_unknown_or_made_on_demand() -> None:
    failed, ask = _failed("eval-bigmem"), _ask(memory_bytes=900 * GIB)
    assert explain(failed, ask).kind == "busy"
    assert explain(failed, ask, NODES, is_elastic=True).kind == "busy"
    silent = [{**NODES[0], "NodeResources": None}]
    assert explain(failed, ask, silent).kind == "busy"


def test_a_node_that_is_down_still_counts_as_one_that_could_hold_it() -> None:
    down = {**copy.deepcopy(NODES[0]), "Status": "down"}
    down["NodeResources"]["Memory"]["MemoryMB"] = 10**9
    assert explain(_failed("eval-bigmem"), _ask(memory_bytes=900 * GIB), [*NODES, down]).kind == "busy"


def test_another_pool_and_another_datacenter_do_not_count() -> None:
    big = copy.deepcopy(NODES[0])
    big["NodeResources"]["Memory"]["MemoryMB"] = 10**9
    failed, ask = _failed("eval-bigmem"), _ask(memory_bytes=900 * GIB)
    assert explain(failed, ask, [*NODES, {**big, "NodePool": "other"}]).kind == "impossible"
    elsewhere = Ask.from_job({**POOL, "Datacenters": ["dc1"]}, SandboxSpec(memory_bytes=900 * GIB))
    assert explain(failed, elsewhere, [*NODES, {**big, "Datacenter": "dc2"}]).kind == "impossible"
    assert explain(failed, elsewhere, [*NODES, big]).kind == "busy"


def test_a_pool_without_ready_nodes_is_busy_and_said() -> None:
    nobody = {"NodesEvaluated": 0, "NodesInPool": 0, "NodePool": "gpu"}
    assert explain(nobody, Ask.from_job({"NodePool": "gpu"}, SandboxSpec()), NODES) == Verdict(
        kind="busy", message="the node pool 'gpu' has no nodes"
    )
    verdict = explain({"NodesEvaluated": 0, "NodesInPool": 1}, _ask(), NODES)
    assert verdict.kind == "busy"
    assert "no node of the pool 'default' is ready" in verdict.message


def test_what_is_too_big_for_nodes_that_are_all_down_is_said_from_their_totals() -> None:
    verdict = explain({"NodesEvaluated": 0, "NodesInPool": 1}, _ask(memory_bytes=900 * GIB, cpus=100), NODES)
    assert verdict.kind == "impossible"
    assert "1 short of cpu (asked 100 CPUs" in verdict.message
    assert "1 short of memory (asked 900 GB" in verdict.message
    gpus = explain({"NodesEvaluated": 0}, _ask(gpus=1), NODES)
    assert gpus == Verdict(kind="impossible", message="0 of 1 nodes: 1 without 1 x GPU (there are none)")


def test_a_missing_driver_is_the_operators_only_if_every_node_lacks_it() -> None:
    some = {"NodesEvaluated": 3, "ConstraintFiltered": {"missing drivers": 2}, "DimensionExhausted": {"memory": 1}}
    assert explain(some, _ask(), NODES).kind == "busy"
    alike = {"NodesEvaluated": 3, "ConstraintFiltered": {"missing drivers": 1, "computed class ineligible": 2}}
    assert explain(alike, _ask(), NODES).kind == "driver"
    volume = {"NodesEvaluated": 1, "ConstraintFiltered": {"missing compatible host volumes": 1}}
    assert explain(volume, _ask(), NODES).kind == "driver"


def test_a_node_that_has_just_booted_without_consul_is_waited_for() -> None:
    booting = {"NodesEvaluated": 1, "ConstraintFiltered": {"${attr.consul.version} semver >= 1.8.0": 1}}
    assert explain(booting, _ask(), NODES) == Verdict(kind="busy", message="0 of 1 nodes: 1 without Consul")


def test_an_operators_own_constraint_is_named() -> None:
    filtered = {"NodesEvaluated": 1, "ConstraintFiltered": {"${attr.cpu.arch} = arm64": 1}}
    assert "refused by the constraint ${attr.cpu.arch} = arm64" in explain(filtered, _ask(), NODES).message


def test_a_rendered_job_asks_what_it_says() -> None:
    spec = SandboxSpec(cpus=1.5, memory_bytes=GIB, disk_bytes=2 * GIB, gpus=1, gpu_type="H100", gpu_memory_bytes=GIB)
    ask = Ask.from_job(render(spec), spec)
    assert (ask.cpu_mhz, ask.memory_mb, ask.disk_mb) == (1500, 1024, 2048)
    assert (ask.gpus, ask.gpu_type, ask.gpu_memory_mb, ask.node_pool) == (1, "H100", 1024, "default")


reasons = st.sampled_from(["memory", "cpu", "disk", "devices: x", "missing devices", "?"])
counts = st.dictionaries(reasons, st.integers(0, 9))


@given(counts, counts, st.integers(0, 9), st.integers(0, 4), st.booleans())
def test_every_failure_has_a_sentence(
    exhausted: dict[str, int], filtered: dict[str, int], evaluated: int, gpus: int, has_nodes: bool
) -> None:
    failed = {"NodesEvaluated": evaluated, "DimensionExhausted": exhausted, "ConstraintFiltered": filtered or None}
    verdict = explain(failed, _ask(gpus=gpus), GPU_NODES if has_nodes else [])
    assert verdict.message
    assert (verdict.kind == "impossible") == (has_nodes and gpus > 2)
