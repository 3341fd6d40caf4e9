from collections.abc import Iterator

import pytest

from tests.clis import DEVS, Dev, start_dev


@pytest.fixture(scope="session", params=DEVS)
def dev(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """A one-machine cluster of each kind, which the CLI's tests share."""
    gpus = ("--simulate-gpus", "NVIDIA H100 80GB HBM3:2")
    with start_dev(tmp_path_factory.mktemp("dev"), *gpus, *request.param) as running:
        yield running
