from __future__ import annotations

from pathlib import Path

import pytest

from rock._importing import can_import_class, safe_import_class


def test_what_has_a_name_is_found() -> None:
    assert safe_import_class("pathlib.Path") is Path
    assert can_import_class("rock.sdk.sandbox.client.Sandbox")


@pytest.mark.parametrize("name", ["pathlib.Nothing", "no.such.module.Name", "Name", "", "pathlib."])
def test_what_has_none_is_none(name: str) -> None:
    assert safe_import_class(name) is None
    assert not can_import_class(name)


def test_a_module_that_raises_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raises_of_tests.py").write_text("raise ZeroDivisionError\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert safe_import_class("raises_of_tests.Name") is None
