"""Clusters with two H100 and one A10G, simulated, which a test may make sick: the real one's by our device plugin."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rock_nomad.device_plugin.installation import install
from rock_nomad.device_plugin.plugin import NAME
from rock_nomad.loopback.settings import NodeSettings, Settings
from tests.bundles import find_bundle
from tests.cluster import Cluster, run_cluster, run_real_cluster
from tests.needs import Kind

__all__ = ["A10G", "A10GS", "H100", "H100S", "MODELS", "Gpus", "run_gpu_cluster", "run_plugin_cluster"]

H100, A10G = "NVIDIA H100 80GB HBM3", "NVIDIA A10G"
MODELS = f"{H100}:2,{A10G}:1"
H100S = ("GPU-simulated-0-0", "GPU-simulated-0-1")
A10GS = ("GPU-simulated-1-0",)
_KNOWN_WITHIN = 30.0  # seconds; Nomad's client reports devices every 5 to 10


@dataclass(frozen=True)
class Gpus:
    """A cluster of one node with GPUs, and the file that says how they are."""

    cluster: Cluster
    state_file: Path

    def make_sick(self, **ailments: str) -> None:
        """Make these cards sick and no others, and wait until Nomad's servers know; `GPU_a_b` stands for `GPU-a-b`."""
        sick = {id_.replace("_", "-"): ailment for id_, ailment in ailments.items()}
        self.write_state(json.dumps({"sick": sick}))
        self.wait_devices(lambda found: found == {id_: sick.get(id_) for id_ in (*H100S, *A10GS)})

    def write_state(self, text: str) -> None:
        """Put a text in the file's place, whole."""
        partial = self.state_file.with_suffix(".partial")
        partial.write_text(text)
        os.replace(partial, self.state_file)

    def wait_devices(self, are_there: Any, *, timeout: float = _KNOWN_WITHIN) -> dict[str, str | None]:  # noqa: ANN401
        """What the servers know of each card, once it is as wanted: what ails it, or None."""
        (node,) = self.cluster.nomad("GET", "/v1/nodes").data
        found = self.cluster.wait_for(f"/v1/node/{node['ID']}", lambda row: are_there(_ailments(row)), timeout=timeout)
        return _ailments(found)


def _ailments(node: Any) -> dict[str, str | None]:  # noqa: ANN401 - decoded JSON
    groups = node["NodeResources"]["Devices"] or ()
    instances = [instance for group in groups for instance in group["Instances"]]
    return {each["ID"]: None if each["Healthy"] else each["HealthDescription"] for each in instances}


@contextlib.contextmanager
def run_gpu_cluster(kind: Kind) -> Iterator[Gpus]:
    """A cluster of one kind; skips the test where its parts are missing."""
    with tempfile.TemporaryDirectory(prefix="rock-gpus-") as folder:
        if kind == "real":
            install(Path(folder) / "plugins")
            with run_plugin_cluster(Path(folder)) as gpus:
                yield gpus
        else:
            state_file = Path(folder) / "state"
            told = ("--simulate-gpus", MODELS, "--gpu-state-file", str(state_file))
            with run_cluster("embedded", *told, bundle=find_bundle()) as cluster:
                yield Gpus(cluster, state_file)


@contextlib.contextmanager
def run_plugin_cluster(folder: Path) -> Iterator[Gpus]:
    """A real cluster with the plugin that has been put into `plugins` in a folder."""
    state_file = folder / "state"
    config = {"simulate": MODELS, "state_file": str(state_file), "period": 0.1}
    bundle = find_bundle()
    volumes = {"rocklet": {"path": str(bundle), "read_only": True}} if bundle else {}
    node = NodeSettings(client={"host_volume": volumes}, plugins={NAME: config})
    with run_real_cluster(Settings(nodes=(node,), plugin_dir=str(folder / "plugins"))) as cluster:
        gpus = Gpus(cluster, state_file)
        gpus.wait_devices(len)
        yield gpus
