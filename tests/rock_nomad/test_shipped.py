from __future__ import annotations

import pytest

from rock_nomad.shipped import shipped_file
from tests.clis import ROOT


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "jobspecs").iterdir() if path.is_file()))
def test_every_file_of_jobspecs_is_found(name: str) -> None:
    assert shipped_file(name).read_text() == (ROOT / "jobspecs" / name).read_text()
