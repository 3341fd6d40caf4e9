import secrets
from collections.abc import Iterator

import pytest

from tests.clis import DEVS, SMALL, Dev, start_dev


@pytest.fixture(scope="session", params=DEVS)
def dev(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """A one-machine cluster of each kind, which the CLI's tests share."""
    gpus = ("--simulate-gpus", "NVIDIA H100 80GB HBM3:2")
    with start_dev(tmp_path_factory.mktemp("dev"), *gpus, *request.param) as running:
        yield running


@pytest.fixture(scope="module")
def sandbox(dev: Dev, request: pytest.FixtureRequest) -> Iterator[str]:
    """The id of a sandbox for a module's tests, or for those in a row that one worker runs."""
    sandbox_id = f"{request.path.stem.removeprefix('test_')}-{secrets.token_hex(2)}"
    submitted = dev.rock_nomad("submit", *SMALL, "--id", sandbox_id)
    assert submitted.returncode == 0, submitted.stderr
    yield sandbox_id
    dev.rock_nomad("stop", sandbox_id)
