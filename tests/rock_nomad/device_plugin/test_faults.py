"""A plugin that fails at each of its steps, under a real Nomad, whose agent must go on."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from rock_nomad.config import bare_environment
from rock_nomad.device_plugin.plugin import NAME
from rock_nomad.loopback.executables import find_executables
from tests.gpus import H100S, Gpus, run_plugin_cluster
from tests.processes import pids_of
from tests.rock_nomad.device_plugin.faulty import BOOT_STEPS, FAULT, FOLLOWS, HOWS, MEASURES, STEPS, TOLD

pytestmark = [pytest.mark.slow, pytest.mark.needs("device plugins")]

_ROOT = Path(__file__).parents[3]
_LAUNCHER = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(_ROOT)!r})
from tests.rock_nomad.device_plugin.faulty import main
main()
"""
_SOON = 60.0  # seconds
_RESTARTED = 5.0  # seconds within which Nomad has started a plugin again, if it does
_AGENTS = 3
_PLACING = ("reserve", "name variables")
"""The steps that come with a task; the others come with the plugin's start."""


@dataclass(frozen=True)
class Faulty:
    """A cluster whose plugin fails on demand, and a task that must not notice."""

    gpus: Gpus
    folder: Path
    pipe: int

    def fail(self, step: str, how: str) -> int | None:
        """Have a step fail from now on, and bring it about; returns when it has, with the agent it happened to.

        An agent that gives up a stream because its plugin was killed never comes to the step: then, the next agent.
        """
        (node,) = self.gpus.cluster.nodes
        for _ in range(_AGENTS):
            agent = node.find_process_id()
            self.set_fault(f"{step} {how}")
            if step in _PLACING:
                self._register("taker", [{"Name": "nvidia/gpu", "Count": 1}])
            else:
                self._kill_plugin()
            if self._is_told(f"{step} {how}", within=_SOON):
                return agent
            self.mend()
        pytest.fail(f"no agent came to {step} within {_SOON:.0f} s")

    def mend(self) -> None:
        """Have nothing fail, and wait until the agent has both of the plugin's streams again.

        Nomad may give up either stream after a failure, and then never asks for it again: that needs a new agent.
        """
        self.set_fault("")
        self.gpus.cluster.nomad("DELETE", "/v1/job/taker?purge=true")
        self._kill_plugin()
        if not self._is_told(FOLLOWS, MEASURES, within=_RESTARTED):
            (node,) = self.gpus.cluster.nodes
            node.stop()
            node.start()
            assert self._is_told(FOLLOWS, MEASURES, within=_SOON)

    def boot_in_vain(self) -> str:
        """What an agent says that ends before it is up."""
        cluster = self.gpus.cluster
        config = cluster.folder / f"{cluster.nodes[0].name}.json"
        command = [find_executables()["nomad"].path, "agent", "-config", str(config)]
        environment = bare_environment(TMPDIR=str(cluster.folder / "tmp"))
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 1
        return ran.stdout + ran.stderr

    def boot_when_healed(self, told: str) -> None:
        """Start an agent that is kept waiting until it is `told` of, which then is no more."""
        (node,) = self.gpus.cluster.nodes
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(node.start)
            assert self._is_told(told, within=_SOON)
            self.set_fault("")
            starting.result()

    def start_bystander(self) -> None:
        """A task without devices."""
        self._register("bystander", None)
        self.gpus.cluster.wait_for(
            "/v1/job/bystander/allocations", lambda rows: bool(rows) and rows[0]["ClientStatus"] == "running"
        )

    def assert_is_well(self) -> None:
        """The agent answers and its task has never been disturbed."""
        (node,) = self.gpus.cluster.nodes
        assert self.gpus.cluster.nomad("GET", f"/v1/node/{node.node_id}").data["Status"] == "ready"
        # Asked through the servers, answered by the client.
        assert self.gpus.cluster.nomad("GET", f"/v1/client/stats?node_id={node.node_id}").status == 200
        (row,) = self.gpus.cluster.nomad("GET", "/v1/job/bystander/allocations").data
        assert row["ClientStatus"] == "running"
        assert row["TaskStates"]["task"]["Restarts"] == 0

    def _register(self, job_id: str, devices: list[dict[str, object]] | None) -> None:
        task = {
            "Name": "task", "Driver": "raw_exec", "Config": {"command": "/bin/sleep", "args": ["600"]},
            "Resources": {"CPU": 50, "MemoryMB": 20, "Devices": devices},
        }  # fmt: skip
        group = {"Name": "group", "EphemeralDisk": {"SizeMB": 50}, "Tasks": [task]}
        group |= {"RestartPolicy": {"Attempts": 0, "Mode": "fail"}, "ReschedulePolicy": {"Attempts": 0}}
        job = {"ID": job_id, "Type": "batch", "Datacenters": ["*"], "TaskGroups": [group]}
        task["LogConfig"] = {"MaxFiles": 1, "MaxFileSizeMB": 1}
        reply = self.gpus.cluster.nomad("POST", "/v1/jobs", {"Job": job})
        assert reply.status == 200, reply.data

    def set_fault(self, text: str) -> None:
        """Have a step fail from now on (`step how`), or none (an empty text)."""
        partial = self.folder / f"{FAULT}.partial"
        partial.write_text(text)
        os.replace(partial, self.folder / FAULT)
        with contextlib.suppress(BlockingIOError):  # what was told before is of no interest any more
            os.read(self.pipe, 2**16)

    def _kill_plugin(self) -> None:
        for process in pids_of(f"{sys.executable} {self.folder}/plugins/{NAME}"):
            with contextlib.suppress(ProcessLookupError):  # a fault may have ended it
                os.kill(process, signal.SIGKILL)

    def _is_told(self, *lines: str, within: float) -> bool:
        deadline, said = time.monotonic() + within, b""
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self.pipe], [], [], left)[0]:
                said += os.read(self.pipe, 2**16)
            if {line.encode() for line in lines} <= set(said.splitlines()):
                return True
        return False


@pytest.fixture(scope="module")
def faulty() -> Iterator[Faulty]:
    with tempfile.TemporaryDirectory(prefix="rock-faulty-") as name:
        folder = Path(name)
        (folder / "plugins").mkdir()
        launcher = folder / "plugins" / NAME
        launcher.write_text(_LAUNCHER)
        launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
        (folder / FAULT).touch()
        os.mkfifo(folder / TOLD)
        pipe = os.open(folder / TOLD, os.O_RDWR | os.O_NONBLOCK)
        try:
            with run_plugin_cluster(folder) as gpus:
                faulty = Faulty(gpus, folder, pipe)
                faulty.start_bystander()
                yield faulty
                gpus.cluster.nomad("DELETE", "/v1/job/bystander?purge=true")
        finally:
            os.close(pipe)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("step", STEPS)
def test_the_agent_outlives_a_plugin_that_fails(faulty: Faulty, step: str, how: str) -> None:
    (node,) = faulty.gpus.cluster.nodes
    try:
        agent = faulty.fail(step, how)
        faulty.assert_is_well()
        assert node.find_process_id() == agent
    finally:
        faulty.mend()
    faulty.assert_is_well()


@pytest.mark.parametrize("step", BOOT_STEPS)
@pytest.mark.parametrize("how", HOWS)
def test_an_agent_whose_plugin_fails_as_it_boots_says_why_and_boots_once_it_is_mended(
    faulty: Faulty, step: str, how: str
) -> None:
    (node,) = faulty.gpus.cluster.nodes
    node.stop()
    faulty.set_fault(f"{step} {how}")
    try:
        if how == "hang":  # Nomad sets no limit to these calls
            faulty.boot_when_healed(f"{step} hang")
        else:
            why = f"a fault of the test's in {step}" if how == "raise" else "plugin is shut down"
            said = faulty.boot_in_vain()
            assert NAME in said
            assert why in said
    finally:
        faulty.set_fault("")
        node.start()
    faulty.assert_is_well()


def test_and_after_all_that_health_is_followed(faulty: Faulty) -> None:
    faulty.gpus.make_sick(GPU_simulated_0_0="XID 79")
    assert faulty.gpus.wait_devices(len)[H100S[0]] == "XID 79"
