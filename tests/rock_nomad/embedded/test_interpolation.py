from __future__ import annotations

from typing import Any

from rock_nomad.embedded.drivers.directories import TaskDirectories
from rock_nomad.embedded.interpolation import TASK_PATH, interpolate, interpolate_tree, resolver, task_environment
from rock_nomad.embedded.placement import Placement, Request
from tests.rock_nomad.embedded.nodes import canonical_job, make_node

NODE = make_node()
DIRECTORIES = TaskDirectories("/data/alloc/a1", "rocklet")
ALLOCATION = {"ID": "0de4db15-1611-fdc9-7577-c09fe51ad86e", "Name": "job.sandbox[12]"}


def environment(
    devices: dict[str, tuple[str, ...]] | None = None,
    directories: TaskDirectories | None = DIRECTORIES,
    **task: Any,  # noqa: ANN401
) -> dict[str, str]:
    job = canonical_job(CPU=100, MemoryMB=64, MemoryMaxMB=128)
    job |= {"Meta": {"tenant": "a"}}
    group = job["TaskGroups"][0]
    group |= {"Networks": [{"Mode": "host", "DynamicPorts": [{"Label": "web"}, {"Label": "in", "To": 80}]}]}
    group["Tasks"][0] |= task
    placement = Placement(Request.from_job(job), {"web": 20001, "in": 20002}, devices or {})
    return task_environment(NODE, job, ALLOCATION, placement, directories)


def test_a_task_knows_where_and_what_it_is() -> None:
    said = environment()
    assert said["PATH"] == TASK_PATH
    assert (said["NOMAD_ALLOC_ID"], said["NOMAD_SHORT_ALLOC_ID"]) == (ALLOCATION["ID"], "0de4db15")
    assert (said["NOMAD_ALLOC_INDEX"], said["NOMAD_ALLOC_NAME"]) == ("12", "job.sandbox[12]")
    assert (said["NOMAD_TASK_DIR"], said["NOMAD_SECRETS_DIR"]) == (
        "/data/alloc/a1/rocklet/local",
        "/data/alloc/a1/rocklet/secrets",
    )
    assert (said["NOMAD_MEMORY_LIMIT"], said["NOMAD_MEMORY_MAX_LIMIT"]) == ("64", "128")
    assert said["NOMAD_META_tenant"] == said["NOMAD_META_TENANT"] == "a"


def test_a_task_with_files_of_its_own_has_its_own_path_and_its_directories_at_the_root() -> None:
    said = environment(directories=None)
    assert "PATH" not in said
    places = ("NOMAD_ALLOC_DIR", "NOMAD_TASK_DIR", "NOMAD_SECRETS_DIR")
    assert [said[place] for place in places] == ["/alloc", "/local", "/secrets"]


def test_a_port_with_an_inner_number_is_that_inside_and_its_own_outside() -> None:
    said = environment()
    assert (said["NOMAD_PORT_web"], said["NOMAD_ADDR_web"]) == ("20001", "127.0.0.1:20001")
    assert (said["NOMAD_PORT_in"], said["NOMAD_HOST_PORT_in"], said["NOMAD_ALLOC_PORT_in"]) == ("80", "20002", "80")


def test_a_job_cannot_widen_the_devices_it_was_given() -> None:
    said = environment({"nvidia/gpu/X": ("GPU-1", "GPU-2")}, Env={"CUDA_VISIBLE_DEVICES": "0,1"})
    assert said["CUDA_VISIBLE_DEVICES"] == "GPU-1,GPU-2"


def test_the_jobs_variables_are_interpolated_and_the_unknown_stays() -> None:
    said = environment(Env={"A": "${NOMAD_JOB_ID}@${node.unique.id}/${attr.kernel.name}", "B": "${nope} $HOME ${}"})
    assert said["A"] == f"job@{NODE['ID']}/linux"
    assert said["B"] == "${nope} $HOME ${}"


def test_trees_are_interpolated_to_their_leaves() -> None:
    resolve = resolver(NODE, {"NOMAD_PORT_web": "1"})
    tree = {"command": "x", "args": ["--port", "${NOMAD_PORT_web}", 3], "n": None}
    assert interpolate_tree(tree, resolve) == {"command": "x", "args": ["--port", "1", 3], "n": None}
    assert interpolate("${NOMAD_PORT_web}${NOMAD_PORT_web}", resolve) == "11"


def test_directories_are_nomads_and_parents_come_first() -> None:
    seen: set[str] = set()
    for path in DIRECTORIES.all():
        parent = path.rpartition("/")[0]
        assert parent == DIRECTORIES.root or parent in seen
        seen.add(path)
    assert DIRECTORIES.logs in seen
