"""What `${...}` in a job stands for, and the environment a task gets.  Pure.

Source: hashicorp/nomad client/taskenv; the variables and their values were recorded from a task of Nomad 2.0.5.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from rock_nomad.device_plugin.simulation import SimulatedHardware
from rock_nomad.embedded.drivers.directories import OWN_FILES, TaskDirectories
from rock_nomad.embedded.placement import Placement, resolve_target
from rock_nomad.embedded.rows import DATACENTER, REGION, Row

TASK_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REFERENCE = re.compile(r"\$\{[^${}]+\}")


def task_environment(
    node: Row, job: Row, allocation: Row, placement: Placement, directories: TaskDirectories | None
) -> dict[str, str]:
    """The whole environment of a task: NOMAD_*, the job's `Env`, the devices' and a PATH; nothing of the agent's.

    Without `directories` the task has a file system of its own: it sees its directories there, and the PATH is its.
    """
    group = job["TaskGroups"][0]
    task = group["Tasks"][0]
    name = allocation["Name"]
    shared, local, secrets = OWN_FILES
    if directories is not None:
        shared, local, secrets = directories.shared, directories.local, directories.secrets
    environment = {
        **({"PATH": TASK_PATH} if directories is not None else {}),
        "NOMAD_ALLOC_ID": allocation["ID"], "NOMAD_SHORT_ALLOC_ID": allocation["ID"][:8], "NOMAD_ALLOC_NAME": name,
        "NOMAD_ALLOC_INDEX": name[name.rindex("[") + 1 : -1], "NOMAD_JOB_ID": job["ID"], "NOMAD_JOB_NAME": job["Name"],
        "NOMAD_GROUP_NAME": group["Name"], "NOMAD_TASK_NAME": task["Name"], "NOMAD_DC": DATACENTER,
        "NOMAD_REGION": REGION, "NOMAD_NAMESPACE": job["Namespace"], "NOMAD_ALLOC_DIR": shared,
        "NOMAD_TASK_DIR": local, "NOMAD_SECRETS_DIR": secrets,
        "NOMAD_CPU_LIMIT": str(task["Resources"]["CPU"]), "NOMAD_MEMORY_LIMIT": str(task["Resources"]["MemoryMB"]),
    }  # fmt: skip
    if task["Resources"]["MemoryMaxMB"]:
        environment["NOMAD_MEMORY_MAX_LIMIT"] = str(task["Resources"]["MemoryMaxMB"])
    for meta in (job["Meta"], group["Meta"], task["Meta"]):
        for key, value in (meta or {}).items():
            environment |= {f"NOMAD_META_{key}": value, f"NOMAD_META_{key.upper()}": value}
    environment |= _port_variables(group, placement)
    resolve = resolver(node, environment)
    environment |= {key: interpolate(value, resolve) for key, value in (task["Env"] or {}).items()}
    devices = ",".join(device for ids in placement.devices.values() for device in ids)
    # After the job's own, which cannot widen what it was given.
    return environment | (dict.fromkeys(SimulatedHardware.variables, devices) if devices else {})


def resolver(node: Row, environment: Mapping[str, str]) -> Callable[[str], str | None]:
    """The value of one `${...}` on this node and for this task; None: it has none and stays as written."""

    def resolve(reference: str) -> str | None:
        name = reference[2:-1]
        return environment[name] if name in environment else resolve_target(node, reference)

    return resolve


def interpolate(text: str, resolve: Callable[[str], str | None]) -> str:
    """A text with every known reference replaced."""

    def replacement(match: re.Match[str]) -> str:
        value = resolve(match[0])
        return match[0] if value is None else value

    return _REFERENCE.sub(replacement, text)


def interpolate_tree(tree: Any, resolve: Callable[[str], str | None]) -> Any:  # noqa: ANN401 - decoded JSON
    """A decoded JSON value with every string in it interpolated."""
    if isinstance(tree, str):
        return interpolate(tree, resolve)
    if isinstance(tree, list):
        return [interpolate_tree(item, resolve) for item in tree]
    if isinstance(tree, dict):
        return {key: interpolate_tree(value, resolve) for key, value in tree.items()}
    return tree


def _port_variables(group: Row, placement: Placement) -> dict[str, str]:
    network = (group["Networks"] or [{}])[0]
    inner = {port["Label"]: port.get("To", 0) for port in network.get("DynamicPorts", ())}
    variables: dict[str, str] = {}
    for label, port in placement.ports.items():
        to = inner.get(label, 0)
        variables |= {
            f"NOMAD_PORT_{label}": str(to if to > 0 else port), f"NOMAD_IP_{label}": "127.0.0.1",
            f"NOMAD_ADDR_{label}": f"127.0.0.1:{port}", f"NOMAD_HOST_PORT_{label}": str(port),
            f"NOMAD_HOST_IP_{label}": "127.0.0.1", f"NOMAD_HOST_ADDR_{label}": f"127.0.0.1:{port}",
        }  # fmt: skip
        if to > 0:
            variables[f"NOMAD_ALLOC_PORT_{label}"] = str(to)
    return variables
