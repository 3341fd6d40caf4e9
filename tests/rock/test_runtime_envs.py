from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from rock._runtime_envs import NodeRuntimeEnvConfig, PythonRuntimeEnvConfig, RuntimeEnvConfig, RuntimeEnvConfigType


def test_a_form_without_wishes_is_of_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCK_PIP_INDEX_URL", "https://index.example/simple")
    python, node = PythonRuntimeEnvConfig(), NodeRuntimeEnvConfig()
    assert (python.type, python.version, python.pip_index_url) == ("python", "default", "https://index.example/simple")
    assert (node.type, node.npm_registry, node.install_timeout) == ("node", None, 600)
    python.extra_symlink_executables.append("pytest")
    assert "pytest" not in PythonRuntimeEnvConfig().extra_symlink_executables


def test_what_is_written_in_a_file_becomes_the_form_of_its_type() -> None:
    read: TypeAdapter[RuntimeEnvConfig] = TypeAdapter(RuntimeEnvConfigType)
    assert isinstance(read.validate_python({"type": "node"}), NodeRuntimeEnvConfig)
    python = read.validate_python({"type": "python", "pip": ["gymnasium"], "unknown": 1})
    assert isinstance(python, PythonRuntimeEnvConfig)
    assert python.pip == ["gymnasium"]
    with pytest.raises(ValidationError):
        read.validate_python({"type": "python", "version": "2.7"})
