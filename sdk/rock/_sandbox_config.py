"""What a user asks of a sandbox, in ROCK's names: mutable pydantic models with rl-rock's fields and defaults.

Source: rl-rock 1.11, `rock/sdk/sandbox/config.py`.  `_convert` turns them into a `SandboxSpec`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rock import _config
from rock.wire.spec import DEFAULT_MAX_LIFETIME, Isolation

__all__ = ["BaseConfig", "SandboxConfig", "SandboxGroupConfig"]

_SECRETS = frozenset({"api_key", "xrl_authorization", "registry_password", "extra_headers", "env"})


class BaseConfig(BaseModel):
    """Where the gateway is."""

    model_config = ConfigDict(hide_input_in_errors=True)  # pydantic shows what is wrong together with what is secret

    base_url: str = Field(default_factory=_config.default_base_url)
    """$ROCK_BASE_URL, else the credentials file's, else http://localhost:8080."""
    xrl_authorization: str | None = Field(default=None, deprecated=True)
    """Deprecated: a key; write `api_key`."""
    extra_headers: dict[str, str] = Field(default_factory=dict)
    """Sent to the gateway with every call."""
    api_key: str | None = None
    """None: the password in `base_url`, else $ROCK_API_KEY, else the credentials file's for this address."""

    @field_validator("xrl_authorization")
    @classmethod
    def _warn_of_xrl_authorization(cls, value: str | None) -> str | None:
        if value is not None:
            warnings.warn("xrl_authorization is deprecated; use api_key", DeprecationWarning, stacklevel=2)
        return value

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            if name == "base_url":
                yield name, _without_user(value)
            elif name not in _SECRETS or not value:
                yield name, value
            else:
                yield name, "..."


class SandboxConfig(BaseConfig):
    """One sandbox: image, resources, lifetimes, and who asks for it."""

    image: str = "python:3.11"
    image_os: str = "linux"
    auto_clear_seconds: int = 60 * 5
    """It ends when no action has run for so long."""
    startup_timeout: float = Field(default_factory=_config.default_startup_timeout)
    """Seconds from the request to the rocklet's first answer; queueing and image pull count."""
    memory: str = "8g"
    cpus: float = 2
    limit_cpus: float | None = None
    num_gpus: float | None = None
    accelerator_type: str | None = None
    """A GPU model, or a part of its name."""
    user_id: str | None = None
    experiment_id: str | None = None
    cluster: str = Field(default_factory=_config.default_cluster)
    namespace: str | None = None
    registry_username: str | None = None
    registry_password: str | None = None
    use_kata_runtime: bool = False
    sandbox_id: str | None = None
    """None: one is made for every start."""
    auto_archive_seconds: int | None = None
    """No effect: files do not survive a stop."""
    auto_delete_seconds: int | None = None
    """No effect: files do not survive a stop."""
    disk: str | None = "50G"
    """Asked for only when it is set; otherwise the cluster's profile decides."""

    # Beyond ROCK.
    direct: Literal["auto", "never", "always"] = Field(default_factory=_config.default_direct, validate_default=True)
    """Whether actions go straight to the rocklet; $ROCK_DIRECT sets the default."""
    isolation: Isolation | None = None
    env: dict[str, str] = Field(default_factory=dict)
    """The environment of everything that runs in the sandbox."""
    labels: dict[str, str] = Field(default_factory=dict)
    ports: list[int] = Field(default_factory=list)
    gpu_memory: str | None = None
    max_lifetime: float = DEFAULT_MAX_LIFETIME
    """Seconds."""
    lease: float | None = None
    """Seconds within which `Sandbox.renew_lease` must be called again; None: no lease."""
    pull: Literal["missing", "always", "never"] = "missing"
    node_pool: str | None = None

    @field_validator("auto_archive_seconds", "auto_delete_seconds")
    @classmethod
    def _is_not_negative(cls, value: int | None, info: Any) -> int | None:  # noqa: ANN401 - pydantic's
        if value is not None and value < 0:
            raise ValueError(f"{info.field_name} must be >= 0")
        return value

    @model_validator(mode="after")
    def _says_one_of_archive_and_delete(self) -> SandboxConfig:
        if self.auto_archive_seconds is not None and self.auto_delete_seconds is not None:
            raise ValueError("auto_archive_seconds and auto_delete_seconds cannot be specified together")
        return self


class SandboxGroupConfig(SandboxConfig):
    """Like sandboxes, started together."""

    size: int = 2
    start_concurrency: int = 2
    start_retry_times: int = 3
    """How often one member's start is tried, where trying again can help."""


def _without_user(url: str) -> str:
    """An address without its user part, which may hold a key."""
    netloc = urlsplit(url).netloc
    return url.replace(netloc, netloc.rpartition("@")[2], 1) if "@" in netloc else url
