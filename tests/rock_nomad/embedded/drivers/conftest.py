"""The docker driver, over the engine that this machine has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rock_nomad.embedded.drivers.docker import DockerDriver, DockerTask
from tests.engine import DOCKER_HOST, Engine
from tests.rock_nomad.embedded.drivers.specs import make_spec


class Bench:
    """A driver, and what a container of it needs."""

    def __init__(self, driver: DockerDriver, engine: Engine, folder: Path) -> None:
        self.driver, self.engine, self.folder = driver, engine, folder
        self.said: list[tuple[str, dict[str, str]]] = []

    async def start(self, script: str, *, config: dict[str, Any] | None = None, **fields: object) -> DockerTask:
        """A container of the smallest image that runs a script."""
        told = {"image": self.engine.busybox, "command": "/bin/sh", "args": ["-c", script], **(config or {})}
        told["labels"] = [self.engine.labels]
        say = {"say": lambda text, details: self.said.append((text, details))}
        return await self.driver.start(make_spec(self.folder, config=told, **{**say, **fields}))

    def output(self, name: str = "stdout") -> str:
        """What the container wrote."""
        log = self.folder / "alloc" / "logs" / f"rocklet.{name}.0"
        return log.read_text() if log.exists() else ""


@pytest.fixture
async def bench(engine: Engine, tmp_path: Path) -> AsyncIterator[Bench]:
    """A driver that leaves no container."""
    driver = DockerDriver.connect(DOCKER_HOST)
    assert driver is not None
    bench = Bench(driver, engine, tmp_path)
    yield bench
    await driver.close()
    assert engine.containers() == []
