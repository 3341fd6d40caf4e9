from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rock import _network
from rock._network import SpeedupType
from rock._sandbox import Sandbox
from rock._sandbox_config import SandboxConfig
from rock.wire import messages as m
from tests.rocklets import start_rocklet

pytestmark = pytest.mark.slow  # a real rocklet


@pytest.fixture
async def homed(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """A sandbox whose home is a folder of the test's."""
    async with start_rocklet(sandbox_id="s1", home=tmp_path, env={"HOME": str(tmp_path)}) as (url, token, _process):
        sandbox = Sandbox(SandboxConfig(direct="always"))
        endpoint = m.RockletEndpoint(sandbox_id="s1", url=url, token=token, alloc_id="a1")
        sandbox._adopt(m.SandboxStatus(sandbox_id="s1", state=m.State.RUNNING, rocklet=endpoint))
        yield sandbox


async def test_pip_is_pointed_to_a_mirror(homed: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_network, "_PIP", _network._PIP.replace("/home/*", f"{tmp_path}/none/*"))
    fit = _network._SPEEDUPS[SpeedupType.PIP]._replace(check="true")  # whether this machine has pip is not the point
    monkeypatch.setitem(_network._SPEEDUPS, SpeedupType.PIP, fit)
    observation = await homed.network.speedup(SpeedupType.PIP, "https://mirror.example/")
    assert (observation.exit_code, observation.output) == (0, "pip source configuration completed")
    said = (tmp_path / ".pip" / "pip.conf").read_text()
    assert "index-url = https://mirror.example/pypi/simple/\ntrusted-host = mirror.example\n" in said


async def test_what_a_sandbox_is_not_made_for_is_refused(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    unfit = _network._SPEEDUPS[SpeedupType.APT]._replace(check="false")
    monkeypatch.setitem(_network._SPEEDUPS, SpeedupType.APT, unfit)
    observation = await sandbox.network.speedup(SpeedupType.APT, "http://mirror.example")
    assert (observation.exit_code, observation.failure_reason) == (1, "Precheck failed")
    unknown = await sandbox.network.speedup("npm", "http://x")  # type: ignore[arg-type]  # that is the point
    assert (unknown.output, unknown.failure_reason) == ("Unsupported speedup type: npm", "Invalid speedup type")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (SpeedupType.GITHUB, "11.11.11.256"),
        (SpeedupType.GITHUB, "1.1.1.1; reboot"),
        (SpeedupType.PIP, "mirror.example"),
        (SpeedupType.APT, 'http://x/"; reboot; "'),
        (SpeedupType.APT, "http://x/$(reboot)"),
    ],
)
async def test_a_wrong_value_runs_nothing(
    sandbox: Sandbox, kind: SpeedupType, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_network._SPEEDUPS, kind, _network._SPEEDUPS[kind]._replace(check="true"))
    observation = await sandbox.network.speedup(kind, value)
    assert (observation.exit_code, observation.failure_reason) == (1, "Script generation failed")


def _run(script: str, root: Path) -> str:
    """Run a script on files below a folder in the place of the machine's own."""
    for folder in ("/etc", "/var/lib/apt", "/home"):
        script = script.replace(folder, f"{root}{folder}")
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout


def test_github_gets_one_address_and_other_hosts_stay(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    hosts = tmp_path / "etc" / "hosts"
    hosts.write_text("127.0.0.1 localhost\n9.9.9.9 github.com\n")
    for address in ("11.11.11.11", "12.12.12.12"):
        _run(_network._SPEEDUPS[SpeedupType.GITHUB].render(address), tmp_path)
    assert hosts.read_text() == "127.0.0.1 localhost\n12.12.12.12 github.com\n"
    assert (tmp_path / "etc" / "hosts.backup").read_text() == "127.0.0.1 localhost\n9.9.9.9 github.com\n"


@pytest.mark.parametrize(
    ("system", "first"),
    [
        ("ID=debian\nVERSION_CODENAME=trixie", "deb http://m/debian/ trixie main contrib non-free non-free-firmware"),
        ("ID=ubuntu", "deb http://m/ubuntu/ noble main restricted universe multiverse"),
    ],
)
def test_apt_is_pointed_to_a_mirror(tmp_path: Path, system: str, first: str) -> None:
    (tmp_path / "etc" / "apt").mkdir(parents=True)
    (tmp_path / "etc" / "os-release").write_text(system)
    (tmp_path / "etc" / "apt" / "sources.list").write_text("deb old")
    assert "completed" in _run(_network._SPEEDUPS[SpeedupType.APT].render("http://m/"), tmp_path)
    assert (tmp_path / "etc" / "apt" / "sources.list").read_text().splitlines()[0] == first
    assert (tmp_path / "etc" / "apt" / "sources.list.backup").read_text() == "deb old"
    assert 'Acquire::Retries "3";' in (tmp_path / "etc" / "apt" / "apt.conf.d" / "99speedup").read_text()
