"""A driver to talk to on machines that have none: a shared library, compiled from nvml_stub.c."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rock_nomad.device_plugin.stub import Driver

_SOURCE = Path(__file__).with_name("nvml_stub.c")


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stub, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler on PATH")
    library = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    options = ["-shared", "-fPIC", "-Wall", "-Werror", f"-Wl,-soname,{library.name}"]
    subprocess.run([compiler, *options, "-o", str(library), str(_SOURCE)], check=True)
    # pynvml asks for the library by name and is given what has been loaded under it.
    ctypes.CDLL(str(library))
    return library


@pytest.fixture
def driver(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """A driver with two H100 and one A10G, for this process and those it starts."""
    driver = Driver(tmp_path / "nvml")
    driver.add_card("NVIDIA H100 80GB HBM3", memory=81559)
    driver.add_card("NVIDIA H100 80GB HBM3", memory=81559)
    driver.add_card("NVIDIA A10G", memory=23028)
    monkeypatch.setenv("NVML_STUB", str(driver.path))
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{nvml_library.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}")
    yield driver
    driver.update(hang=0)  # nothing may stay in a call for ever
