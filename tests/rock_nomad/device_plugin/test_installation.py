from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from rock_nomad.device_plugin.installation import NotInstallable, install, render_block
from rock_nomad.device_plugin.plugin import NAME
from tests.rock_nomad.device_plugin.agent import start_plugin


@pytest.mark.slow
def test_what_is_installed_starts_and_says_the_name_it_is_installed_under(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = install(tmp_path / "new" / "plugins")
    assert launcher.name == NAME
    # The agent's environment is handed down; none of Python's variables may harm.
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with start_plugin(tmp_path, launcher) as agent:
        assert agent.info().name == launcher.name


def test_installing_again_replaces_the_file_whole(tmp_path: Path) -> None:
    launcher = install(tmp_path)
    first = launcher.stat().st_ino
    assert install(tmp_path) == launcher
    assert launcher.stat().st_ino != first
    assert os.listdir(tmp_path) == [NAME]


@pytest.mark.parametrize("python", ["/opt/my pythons/bin/python", f"/{'x' * 200}/bin/python"])
def test_a_python_that_no_kernel_would_start_is_refused(tmp_path: Path, python: str) -> None:
    with pytest.raises(NotInstallable, match="install rock-nomad elsewhere"):
        install(tmp_path, python)
    assert os.listdir(tmp_path) == []
    install(tmp_path, sys.executable)


def test_the_block_names_the_folder_and_the_plugin() -> None:
    block = render_block(Path('/opt/"nomad"/plugins'))
    assert 'plugin_dir = "/opt/\\"nomad\\"/plugins"' in block
    assert f'plugin "{NAME}" {{' in block
