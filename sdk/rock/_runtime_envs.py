"""How a sandbox's own Python or Node.js is asked for: the forms, as configuration files of agents have them."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, Field

from rock._config import rock_variable

__all__ = ["NodeRuntimeEnvConfig", "PythonRuntimeEnvConfig", "RuntimeEnvConfig", "RuntimeEnvConfigType"]


class RuntimeEnvConfig(BaseModel):
    """What every kind of runtime environment has."""

    type: str
    version: str = "default"
    env: dict[str, str] = Field(default_factory=dict)
    install_timeout: int = 600
    """Seconds."""
    custom_install_cmd: str | None = None
    """Shell text that is run once it is installed."""
    extra_symlink_dir: str | None = None
    """Where its programs are linked to; None: nowhere."""
    extra_symlink_executables: list[str] = Field(default_factory=list)


class PythonRuntimeEnvConfig(RuntimeEnvConfig):
    """A Python, with packages."""

    type: Literal["python"] = "python"
    version: Literal["3.11", "3.12", "default"] = "default"
    pip: list[str] | str | None = None
    """Names of packages, or the path of a file of requirements."""
    pip_index_url: str | None = Field(default_factory=lambda: _text("ROCK_PIP_INDEX_URL"))
    extra_symlink_executables: list[str] = Field(default_factory=lambda: ["python", "python3", "pip", "pip3"])


class NodeRuntimeEnvConfig(RuntimeEnvConfig):
    """A Node.js."""

    type: Literal["node"] = "node"
    version: Literal["22.18.0", "default"] = "default"
    npm_registry: str | None = None
    extra_symlink_executables: list[str] = Field(default_factory=lambda: ["node", "npm", "npx"])


RuntimeEnvConfigType: TypeAlias = NodeRuntimeEnvConfig | PythonRuntimeEnvConfig


def _text(variable: str) -> str | None:
    value = rock_variable(variable)
    return None if value is None else str(value)
