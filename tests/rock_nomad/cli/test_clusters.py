import hashlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.bundles import need_bundle
from tests.clis import DEVS, ROOT, clean_environment, rock_nomad, start_dev
from tests.cluster import missing_parts, run_cluster
from tests.engine import Engine
from tests.gems import need_gem
from tests.processes import command_of, pids_naming

pytestmark = pytest.mark.slow

SMALL = ("--image", "x", "--memory", "64m", "--cpus", "0.02", "--disk", "32m")

_LACKED = missing_parts("real")


@pytest.mark.parametrize("options", DEVS)
def test_dev_writes_address_and_key_where_only_their_owner_reads_them(tmp_path: Path, options: tuple[str, ...]) -> None:
    env_file = tmp_path / "env"
    with start_dev(tmp_path, "--env-file", str(env_file), *options) as dev:
        credentials = tmp_path / "credentials.json"
        told = json.loads(credentials.read_text())
        assert told["base_url"] == dev.url
        exports = f"export ROCK_BASE_URL={dev.url}\nexport ROCK_API_KEY={told['api_key']}\n"
        assert env_file.read_text().startswith(exports)
        assert {stat.S_IMODE(path.stat().st_mode) for path in (credentials, env_file)} == {0o600}
    assert dev.process.returncode == 0
    assert not credentials.exists()


def test_a_port_that_is_taken_says_by_whom(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ran = rock_nomad("dev", "--port", str(server.getsockname()[1]), environment=clean_environment(tmp_path))
    assert ran.returncode == 2
    assert f"(process {os.getpid()})" in ran.stderr
    assert "choose another with --port" in ran.stderr


def test_an_open_cluster_asks_this_machine_for_no_key(tmp_path: Path) -> None:
    with start_dev(tmp_path, "--open") as dev:
        without_key = {**dev.environment, "ROCK_BASE_URL": dev.url, "ROCK_CREDENTIALS_FILE": str(tmp_path / "none")}
        assert rock_nomad("ls", environment=without_key).returncode == 0


@pytest.mark.skipif(_LACKED is not None, reason=_LACKED or "")
def test_dev_on_real_servers_says_which_and_lets_their_own_programs_in(tmp_path: Path) -> None:
    env_file = tmp_path / "env"
    with start_dev(tmp_path, "--real", "--nodes", "2", "--env-file", str(env_file)) as dev:
        assert re.match(r"on nomad \d+\.\d+\.\d+, consul \d+\.\d+\.\d+, nodes node-0, node-1\n", dev.said)
        script = f". {env_file}; nomad node status && consul members"
        ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=180)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.count(" ready") == 2
        assert ran.stdout.count(" alive ") == 3
    assert dev.process.returncode == 0


@pytest.mark.parametrize("options", DEVS)
def test_the_examples_run_in_containers_and_leave_none(
    tmp_path: Path, engine: Engine, options: tuple[str, ...]
) -> None:
    need_bundle()
    with engine.aliased(engine.python, "python:3.11"):
        for example in ("hello.yaml", "python-project.yaml"):
            submitted = ["--submit", f"jobspecs/examples/{example}"]
            dev = ["dev", "--port", "0", "--isolation", "runc", *options, *submitted]
            ran = rock_nomad(*dev, environment=clean_environment(tmp_path), timeout=240)
            assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "Ran 2 tests" in ran.stdout
        assert engine.containers() == []


@pytest.mark.parametrize("options", DEVS)
def test_kill_9_of_dev_leaves_no_container(tmp_path: Path, engine: Engine, options: tuple[str, ...]) -> None:
    need_bundle()
    with start_dev(tmp_path, "--isolation", "runc", *options) as dev:
        small = ("--image", engine.busybox, "--memory", "128m", "--cpus", "0.02", "--disk", "32m")
        ran = dev.rock_nomad("submit", *small, timeout=240)
        assert ran.returncode == 0, ran.stderr
        (container,) = engine.containers()
        dev.process.kill()
        engine.client.wait(container, timeout=120, condition="removed")
        assert engine.containers() == []


@pytest.mark.parametrize(
    ("options", "variables", "fault"),
    [
        (("--isolation", "chroot"), {}, "isolation is 'chroot'; it must be one of runc, gvisor"),
        (("--isolation", "runc"), {"DOCKER_HOST": "unix:///no.sock"}, "runc needs a Docker engine"),
        (("--nodes", "2"), {}, "the embedded cluster has one node; add --real to --nodes"),
        (("--real",), {"NOMAD_BIN": "/no/such/nomad"}, "/no/such/nomad cannot be run"),
        (("--real",), {"PATH": "/nowhere"}, "no nomad on PATH; install 2.0.3 or later, or name it by NOMAD_BIN"),
    ],
)
def test_what_dev_cannot_run_is_said_at_once(
    tmp_path: Path, options: tuple[str, ...], variables: dict[str, str], fault: str
) -> None:
    ran = rock_nomad("dev", "--port", "0", *options, environment={**clean_environment(tmp_path), **variables})
    assert ran.returncode == 2
    assert fault in ran.stderr


def test_what_hosts_environments_is_set_up_once_and_told(tmp_path: Path) -> None:
    python = need_gem()
    ran = rock_nomad("setup-gem", environment=clean_environment(tmp_path))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"{python}\n", "")


def test_a_gateway_needs_nothing_but_what_the_command_line_says(tmp_path: Path) -> None:
    with run_cluster("embedded") as cluster:
        (tmp_path / "secret").write_text(os.urandom(32).hex())
        key = {"name": "me", "sha256": hashlib.sha256(b"my-key").hexdigest()}
        (tmp_path / "keys.yaml").write_text(json.dumps({"keys": [key]}))
        tokens = {"NOMAD_TOKEN": cluster.nomad_token, "CONSUL_HTTP_TOKEN": cluster.consul_token}
        environment = {**clean_environment(tmp_path), **tokens}
        agents = ["--nomad", cluster.nomad_url, "--consul", cluster.consul_url]
        files = ["--keys", "keys.yaml", "--secret-file", "secret"]
        with subprocess.Popen(
            [sys.executable, "-m", "rock_nomad", "gateway", "--port", "0", *agents, *files],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            ran = rock_nomad("ls", environment={**environment, "ROCK_BASE_URL": url, "ROCK_API_KEY": "my-key"})
            refused = rock_nomad("ls", environment={**environment, "ROCK_BASE_URL": url, "ROCK_API_KEY": "another"})
            process.terminate()
        assert (ran.returncode, ran.stderr) == (0, "no sandboxes\n")
        assert refused.returncode == 2
        assert process.returncode == 0


def test_a_gateway_that_lacks_a_setting_names_it(tmp_path: Path) -> None:
    ran = rock_nomad("gateway", environment=clean_environment(tmp_path))
    assert ran.returncode == 2
    assert "keys_file: Field required" in ran.stderr


def _process_names(marker: str) -> list[str]:
    """Command lines of every process that holds the marker in its environment or arguments."""
    return [command_of(process) for process in pids_naming(marker)]


@pytest.mark.parametrize("options", DEVS)
def test_kill_9_of_dev_amid_20_commands_leaves_no_process(tmp_path: Path, options: tuple[str, ...]) -> None:
    marker = f"marker-{os.urandom(8).hex()}"
    daemon = "import os,time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); time.sleep(600)"
    with start_dev(tmp_path, *options) as dev:
        for number in range(4):
            dev.rock_nomad("submit", *SMALL, "--id", f"k{number}", "--env", f"MARKER={marker}")
        assert dev.rock_nomad("exec", "k0", "--", "python3", "-c", daemon).returncode == 0
        callers = [
            subprocess.Popen(
                [sys.executable, "-m", "rock_nomad", "exec", f"k{number % 4}", "--", "sh", "-c", "echo on; sleep 600"],
                cwd=ROOT,
                env=dev.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for number in range(20)
        ]
        _wait_until(lambda: sum("sleep 600" in name for name in _process_names(marker)) >= 20)
        assert any("time.sleep(600)" in name for name in _process_names(marker))
        dev.process.send_signal(signal.SIGKILL)
        dev.process.wait()
        for caller in callers:
            caller.kill()
            caller.wait()
        _wait_until(lambda: not _process_names(marker))


def _wait_until(condition: object, timeout: float = 60) -> None:
    """Other processes' lives can only be looked at."""
    tick = threading.Event()
    for _ in range(int(timeout / 0.05)):
        if condition():  # type: ignore[operator] # a callable
            return
        tick.wait(0.05)
    raise AssertionError("it did not come true")
