from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import urllib.request
from asyncio.subprocess import PIPE

import pytest

from rock_nomad.embedded.drivers.docker import DockerDriver
from rock_nomad.embedded.drivers.driver import Mount, Port, StartRefused
from rock_nomad.embedded.lifecycle import Exited
from tests.engine import DOCKER_HOST, PASSWORD, USERNAME, Registry
from tests.rock_nomad.embedded.drivers.conftest import Bench

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("script", "ended"),
    [
        ("exit 0", Exited(0)),
        ("exit 3", Exited(3, message="Docker container exited with non-zero exit code: 3")),
        ("kill -9 $$; sleep 9", Exited(137, message="Docker container exited with non-zero exit code: 137")),
    ],
)
async def test_an_exit_is_told_as_nomad_does(bench: Bench, script: str, ended: Exited) -> None:
    # As a child of an init, because the first process of a container cannot kill itself.
    task = await bench.start(script, config={"init": True})
    assert await task.wait() == ended
    assert bench.said == []


async def test_memory_beyond_the_limit_is_an_oom(bench: Bench) -> None:
    task = await bench.start("tail /dev/zero", memory_mb=16)
    assert await task.wait() == Exited(137, oom_killed=True, message="OOM Killed")


async def test_output_goes_to_the_logs_and_directories_are_at_the_root(bench: Bench) -> None:
    script = "echo $MARK; echo bad >&2; echo made > /local/file; touch /alloc/logs/x || ls /secrets"
    await (await bench.start(script)).wait()
    assert bench.output() == "x\n"
    assert bench.output("stderr").splitlines()[0] == "bad"
    assert "Read-only" in bench.output("stderr")
    assert (bench.folder / "rocklet" / "local" / "file").read_text() == "made\n"


async def test_a_stop_asks_with_the_tasks_signal(bench: Bench) -> None:
    task = await bench.start("trap 'exit 7' USR1; echo up; while :; do sleep 0.05; done", kill_signal="SIGUSR1")
    await _until_output(bench, "up")
    await task.stop()
    assert (await task.wait()).exit_code == 7


async def test_what_does_not_listen_is_killed_after_the_timeout(bench: Bench) -> None:
    task = await bench.start("trap '' TERM; echo up; while :; do sleep 0.05; done", kill_timeout=0.3)
    await _until_output(bench, "up")
    await task.stop()
    assert (await task.wait()).exit_code == 137


async def test_limits_and_mounts_are_those_asked_for(bench: Bench) -> None:
    (bench.folder / "bundle").mkdir()
    (bench.folder / "bundle" / "file").write_text("bundled")
    script = (
        "cat /opt/x/file; touch /opt/x/y; ulimit -n; df -m /dev/shm /scratch | awk 'NR>1 {print $2}'; id -u; "
        "hostname; grep -E 'CapEff|NoNewPrivs' /proc/1/status; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max"
    )
    config = {
        "ulimit": [{"nofile": "100:200"}], "shm_size": 2 * 2**20, "pids_limit": 77, "hostname": "box",
        "mount": [{"type": "tmpfs", "target": "/scratch", "tmpfs_options": [{"size": 3 * 2**20}]}],
        "cap_drop": ["all"], "cap_add": ["chown"], "security_opt": ["no-new-privileges"],
    }  # fmt: skip
    mounts = (Mount(str(bench.folder / "bundle"), "/opt/x", is_read_only=True),)
    await (await bench.start(script, config=config, mounts=mounts, user="1234")).wait()
    shown = bench.output().split()
    assert shown[:5] == ["bundled100", "2", "3", "1234", "box"]
    assert shown[5:] == ["CapEff:", "0000000000000000", "NoNewPrivs:", "1", "77"]
    assert "Read-only" in bench.output("stderr")


async def test_a_port_of_the_node_leads_inside(bench: Bench) -> None:
    port = _free_port()
    script = "mkdir /www; echo here > /www/index.html; httpd -f -p 8000 -h /www"
    task = await bench.start(script, config={"ports": ["rocklet"]}, ports={"rocklet": Port(port, 8000)})
    async with asyncio.timeout(60):
        while (said := await asyncio.to_thread(_fetch, port)) is None:  # noqa: ASYNC110 - a server that starts tells nobody
            await asyncio.sleep(0.02)
    assert said == "here\n"
    await task.stop()
    await task.wait()


@pytest.mark.parametrize(
    ("config", "fields", "text"),
    [
        ({"image": ""}, {}, "image name required for docker driver"),
        ({"image": "nowhere.invalid/none:1"}, {}, "Failed to pull `nowhere.invalid/none:1`: Error response from"),
        ({"command": "/no/such"}, {}, "Failed to start container .*: Error response from daemon: .*no such file"),
        ({"runtime": "nope"}, {}, "failed to create container: Error response from daemon: .*nope"),
        ({"ports": ["web"]}, {}, 'Port "web" not found, check network block'),
        ({}, {"kill_signal": "SIGFOO"}, "failed to parse signal: 'SIGFOO'"),
    ],
)
async def test_what_cannot_start_is_refused_in_nomads_words(
    bench: Bench, config: dict[str, object], fields: dict[str, object], text: str
) -> None:
    with pytest.raises(StartRefused, match=text):
        await bench.start("exit", config=config, **fields)


@pytest.mark.parametrize(
    ("password", "text"), [(PASSWORD, None), ("wrong", "unauthorized: authentication required")], ids=["right", "wrong"]
)
async def test_a_private_image_is_pulled_with_its_password(
    bench: Bench, registry: Registry, password: str, text: str | None
) -> None:
    image = registry.push(bench.engine.busybox, "private/box")
    config = {"image": image, "auth": [{"username": USERNAME, "password": password}]}
    try:
        task = await bench.start("echo pulled", config=config)
        await task.wait()
        assert (bench.output(), text) == ("pulled\n", None)
    except StartRefused as refused:
        assert text is not None
        assert refused.text == f"Failed to pull `{image}`: Error response from daemon: {text}"
    finally:
        registry.forget(image)
    assert bench.said == [("Downloading image", {"image": image})]


async def test_a_container_that_somebody_removed_has_ended(bench: Bench) -> None:
    task = await bench.start("sleep 600")
    (container,) = bench.engine.containers()
    bench.engine.client.remove_container(container, force=True)
    assert (await task.wait()).exit_code == 137


async def test_a_driver_that_closes_leaves_nothing(bench: Bench) -> None:
    task = await bench.start("sleep 600")
    await bench.driver.close()
    assert (await task.wait()).exit_code == 137


def test_no_engine_is_no_driver() -> None:
    assert DockerDriver.connect("unix:///no/such.sock") is None
    assert DockerDriver.connect("") is None


async def test_the_node_is_told_version_and_runtimes(bench: Bench) -> None:
    attributes = bench.driver.capabilities.attributes
    assert "runc" in attributes["driver.docker.runtimes"].split(",")
    assert attributes["driver.docker.version"] == bench.engine.client.version()["Version"]


_AGENT = """
import asyncio, json, sys
from pathlib import Path
from rock_nomad.embedded.drivers.docker import DockerDriver
from tests.rock_nomad.embedded.drivers.specs import make_spec

async def main(host, image, folder):
    driver = DockerDriver.connect(host)
    config = {"image": image, "command": "/bin/sleep", "args": ["600"], "labels": [json.loads(sys.argv[4])]}
    await driver.start(make_spec(Path(folder), config=config))
    print("up", flush=True)
    await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:4]))
"""


async def test_an_agent_that_is_killed_leaves_no_container(bench: Bench) -> None:
    label = {"rock-nomad-tests": f"{bench.engine.run}"}
    arguments = [DOCKER_HOST, bench.engine.busybox, str(bench.folder), json.dumps(label)]
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", _AGENT, *arguments, stdout=PIPE)
    assert agent.stdout is not None
    assert await agent.stdout.readline() == b"up\n"
    (container,) = bench.engine.containers()
    os.kill(agent.pid, signal.SIGKILL)
    await agent.wait()
    async with asyncio.timeout(60):
        await asyncio.to_thread(bench.engine.client.wait, container, condition="removed")


async def _until_output(bench: Bench, text: str) -> None:
    async with asyncio.timeout(60):
        while text not in bench.output():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.02)


def _fetch(port: int) -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as reply:
            return str(reply.read().decode())
    except OSError:
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
