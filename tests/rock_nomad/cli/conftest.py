from collections.abc import Iterator

import pytest

from tests.clis import Dev, start_dev


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """A one-machine cluster that the CLI's tests share."""
    with start_dev(tmp_path_factory.mktemp("dev"), "--simulate-gpus", "NVIDIA H100 80GB HBM3:2") as running:
        yield running
