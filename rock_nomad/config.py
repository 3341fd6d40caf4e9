"""The control plane's configuration: read once, checked whole, frozen.  The one place that looks at the environment."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from rock.wire.spec import Isolation
from rock_nomad.tokens import Secrets

__all__ = [
    "AgentConfig",
    "ApiKey",
    "ClusterConfig",
    "ClusterProfile",
    "ConfigError",
    "ConsulConfig",
    "ContainerProfile",
    "GatewayConfig",
    "NomadConfig",
    "RockletArchive",
    "Role",
    "bare_environment",
    "cache_folder",
    "docker_socket",
    "environment_with",
    "find_executable",
    "load_api_keys",
    "load_cluster_config",
    "load_gateway_config",
    "load_secrets",
    "read_token",
]

_GIB = 2**30
_COMMAND_LINE = Path("command line")  # what errors name where there is no file

Role = Literal["all", "write", "read"]
Tenant = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ConfigError(Exception):
    """A configuration file says something it must not; the message names key and file."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class AgentConfig(_Model):
    """How an agent of Nomad or Consul is reached."""

    url: Annotated[str, Field(pattern=r"^https?://[^/@\s]+/?$")]
    token: SecretStr | None = None
    """In a file written `token_file`; this one is for configurations made by programs, and from the environment."""
    token_file: Path | None = None
    """Read again when it changes."""
    ca_file: Path | None = None
    """The CA that signed the agent's certificate; None: the system's."""
    cert_file: Path | None = None
    key_file: Path | None = None
    timeout: Annotated[float, Field(gt=0)] = 10.0  # seconds, for one call that does not wait


class NomadConfig(AgentConfig):
    """A Nomad server or client agent."""

    url: Annotated[str, Field(pattern=r"^https?://[^/@\s]+/?$")] = "http://127.0.0.1:4646"


class ConsulConfig(AgentConfig):
    """A Consul agent."""

    url: Annotated[str, Field(pattern=r"^https?://[^/@\s]+/?$")] = "http://127.0.0.1:8500"


class RockletArchive(_Model):
    """A bundle packed by `rock-nomad bundle build --archive`, and where nodes can fetch it."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s$]+\.tar\.gz$")]
    sha256: Sha256


class ContainerProfile(_Model):
    """What the containers of sandboxes are like; isolations without containers disregard it."""

    pids_limit: Annotated[int, Field(gt=0)] = 4096
    """Processes and threads; a fork bomb ends here and not on the node."""
    capabilities: tuple[str, ...] = ("chown", "dac_override", "fowner", "kill", "setgid", "setuid")
    """All that are kept: what package managers and test suites need, without which apt and pip fail."""
    no_new_privileges: bool = True
    """Whether setuid programs, such as sudo, gain nothing."""
    shm_bytes: Annotated[int, Field(ge=2**16)] = 2**26
    """The size of /dev/shm, for a spec that names none; what is written there counts as the sandbox's memory."""
    tmpfs: Mapping[str, Annotated[int, Field(gt=0)]] = {}
    """Directories in memory by their path, with their size in bytes; they, too, count as the sandbox's memory."""
    ulimits: Mapping[str, Annotated[str, Field(pattern=r"^[0-9]+(:[0-9]+)?$")]] = {}
    """Such as `nofile: "65536"` or `"1024:65536"`, soft and hard; what is not named is the engine's own."""
    image_pull_timeout: Annotated[float, Field(gt=0)] = 900.0  # seconds; a spec's startup_timeout may be shorter


class ClusterProfile(_Model):
    """What sandboxes of this cluster are like, and what nobody may ask for."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")] = "rock"
    """Stands in every job as `Meta.managed_by`: only jobs with this name are this cluster's."""
    namespace: str = "default"
    region: str | None = None  # Nomad's own
    datacenters: tuple[str, ...] = ("*",)
    node_pool: str = "default"
    elastic_pools: tuple[str, ...] = ()
    """Node pools that grow on demand: nothing is impossible there."""
    default_isolation: Isolation = "runc"
    isolations: tuple[Isolation, ...] = ("runc",)
    """Those that a spec may name."""
    max_lifetime: Annotated[float, Field(gt=0)] = 86_400.0  # seconds, a day
    max_cpus: Annotated[float, Field(gt=0)] = 1024.0  # vCPUs
    max_memory_bytes: Annotated[int, Field(gt=0)] = 2**50
    max_disk_bytes: Annotated[int, Field(gt=0)] = 2**60
    max_gpus: Annotated[int, Field(ge=0)] = 1024
    default_disk_bytes: Annotated[int, Field(gt=0)] = 10 * _GIB
    gpu_device: str = "nvidia/gpu"  # what the nodes' device plugin calls them
    rocklet_command: Annotated[tuple[str, ...], Field(min_length=1)] = (sys.executable, "-m", "rocklet")
    """How a node starts a rocklet of its own (raw_exec)."""
    rocklet_volume: str = "rocklet"
    """The nodes' host volume that holds a bundle (`rock-nomad bundle build`)."""
    rocklet_archive: RockletArchive | None = None
    """Instead of that volume, on nodes without: every sandbox fetches its bundle, which takes it a second or so."""
    container: ContainerProfile = ContainerProfile()
    bind_host: str | None = None  # None: the address Nomad gives the port; inside a container all
    env: Mapping[str, str] = {}
    """Added to every rocklet's own environment; commands do not see it."""
    node_lost_after: Annotated[float, Field(gt=0)] = 300.0  # seconds a node may be gone before its sandboxes are
    sweep_interval: Annotated[float, Field(gt=0)] = 15.0  # seconds, jittered

    @field_validator("isolations")
    @classmethod
    def _has_one(cls, isolations: tuple[Isolation, ...]) -> tuple[Isolation, ...]:
        if not isolations:
            raise ValueError("name at least one")
        return isolations


class ApiKey(_Model):
    """Who may call the gateway."""

    name: str
    sha256: Sha256
    """Of the key."""
    tenant: Tenant = "default"
    role: Literal["user", "operator"] = "user"


class ClusterConfig(_Model):
    """Which cluster, and what it offers."""

    nomad: NomadConfig = NomadConfig()
    consul: ConsulConfig = ConsulConfig()
    profile: ClusterProfile = ClusterProfile()


class GatewayConfig(ClusterConfig):
    """All that a gateway is told."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    role: Role = "all"
    """What it serves: the write path makes, ends and lists sandboxes, the read path reaches into them."""
    elsewhere: Annotated[str, Field(pattern=r"^https?://[^@\s]+$")] | None = None
    """Where gateways of the other role are; whoever asks the wrong one is told."""
    open: bool = False
    """Serve without keys; loopback only."""
    keys_file: Path
    """YAML: a list of API keys.  Read again when it changes."""
    secret_file: Path
    """The cluster's secret; on a second line the one before, while it is being changed."""
    base_job_file: Path | None = None
    """Replaces `jobspecs/sandbox.json`."""


class _ApiKeys(_Model):
    keys: tuple[ApiKey, ...]


def cache_folder() -> Path:
    """Where this user keeps what can be made again: $XDG_CACHE_HOME/rock-nomad, or ~/.cache/rock-nomad."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "rock-nomad"


def docker_socket() -> Path:
    """Where this machine's Docker engine listens, if there is one."""
    return Path((os.environ.get("DOCKER_HOST") or "/var/run/docker.sock").removeprefix("unix://"))


def find_executable(name: str) -> str | None:
    """A program of the machine's: what `<NAME>_BIN` says, or the one on PATH; None: there is none."""
    return os.environ.get(f"{name.upper()}_BIN") or shutil.which(name)


def bare_environment(**variables: str) -> dict[str, str]:
    """PATH and HOME of this process's environment, and some variables, for a program that must not see the rest."""
    return {**{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}, **variables}


def environment_with(**variables: str) -> dict[str, str]:
    """This process's environment with other values of some variables, for a program that is started by it."""
    return {**os.environ, **variables}


def load_gateway_config(path: Path | None, settings: Mapping[str, Any] | None = None) -> GatewayConfig:
    """The gateway's configuration: a YAML file, or none, with the command line's settings laid over it.

    Paths are relative to the file.  Where no token is named, `NOMAD_TOKEN` and `CONSUL_HTTP_TOKEN` are taken.

    Raises ConfigError.
    """
    source, given = path or _COMMAND_LINE, _read_yaml(path) if path else {}
    config = _validate(GatewayConfig, source, _laid_over(given, settings or {}) if settings else given)
    return config.model_copy(
        update={
            **_agents(config, source.parent),
            "keys_file": source.parent / config.keys_file,
            "secret_file": source.parent / config.secret_file,
            "base_job_file": config.base_job_file and source.parent / config.base_job_file,
        }
    )


def load_cluster_config(settings: Mapping[str, Any]) -> ClusterConfig:
    """Which cluster the command line means, for whoever looks at one without serving it; tokens as a gateway's.

    Raises ConfigError.
    """
    config = _validate(ClusterConfig, _COMMAND_LINE, settings)
    return config.model_copy(update=_agents(config, _COMMAND_LINE.parent))


def load_api_keys(path: Path) -> tuple[ApiKey, ...]:
    """The API keys in a YAML file: `keys: [{name, sha256, tenant, role}, ...]`.

    Raises ConfigError.
    """
    keys = _load(_ApiKeys, path).keys
    for which in ("name", "sha256"):
        values = [getattr(key, which) for key in keys]
        if len(set(values)) != len(values):
            raise ConfigError(f"{path}: two keys have the same {which}; each needs its own")
    return keys


def load_secrets(path: Path) -> Secrets:
    """The cluster's secret, and the one before it if the file has a second line.

    Raises ConfigError.
    """
    lines = [line.strip() for line in _read(path).splitlines() if line.strip()]
    if len(lines) not in (1, 2):
        raise ConfigError(f"{path}: it has {len(lines)} lines; write the secret on one, the previous one on a second")
    try:
        return Secrets(*(line.encode() for line in lines))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def read_token(agent: AgentConfig) -> str | None:
    """The token to show an agent, as it stands now.

    Raises ConfigError.
    """
    if agent.token_file is not None:
        return _read(agent.token_file).strip()
    return agent.token.get_secret_value() if agent.token is not None else None


_M = TypeVar("_M", bound=_Model)
_A = TypeVar("_A", bound=AgentConfig)


def _load(kind: type[_M], path: Path) -> _M:
    return _validate(kind, path, _read_yaml(path))


def _read_yaml(path: Path) -> Any:  # noqa: ANN401 - what a YAML file says
    try:
        return yaml.load(_read(path), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error


def _laid_over(given: Any, settings: Mapping[str, Any]) -> Any:  # noqa: ANN401 - what a YAML file says
    """Settings over what a file says, key by key; a file that is no mapping is left for validation to name."""
    if not isinstance(given, Mapping | None):
        return given
    merged = dict(given or {})
    for key, value in settings.items():
        merged[key] = _laid_over(merged.get(key), value) if isinstance(value, Mapping) else value
    return merged


def _validate(kind: type[_M], path: Path, given: Any) -> _M:  # noqa: ANN401 - what a YAML file says
    try:
        # By way of JSON, where strict takes a list for a tuple and a text for a path, as a file has to write them.
        return kind.model_validate_json(json.dumps({} if given is None else given, default=str))
    except ValidationError as error:
        raise ConfigError(_complaint(kind, path, error)) from error


def _complaint(kind: type[_Model], path: Path, error: ValidationError) -> str:
    said = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        key = ".".join(str(step) for step in fault["loc"]) or "the file"
        if fault["type"] == "extra_forbidden":
            said.append(f"unknown key {key}; the keys there are: {', '.join(_keys_at(kind, fault['loc'][:-1]))}")
        else:
            said.append(f"{key}: {fault['msg']}")
    return f"{path}: {'; '.join(said)}"


def _keys_at(kind: Any, steps: tuple[int | str, ...]) -> list[str]:  # noqa: ANN401 - a type annotation
    for step in steps:
        if isinstance(step, str) and isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[step].annotation
        else:
            kind = next((each for each in getattr(kind, "__args__", ()) if each is not Ellipsis), None)
    return sorted(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _agents(config: ClusterConfig, folder: Path) -> dict[str, AgentConfig]:
    """The agents of a configuration whose paths are relative to a folder, with their tokens."""
    return {
        "nomad": _with_token(_resolved(config.nomad, folder), "NOMAD_TOKEN"),
        "consul": _with_token(_resolved(config.consul, folder), "CONSUL_HTTP_TOKEN"),
    }


def _resolved(agent: _A, folder: Path) -> _A:
    files = {name: getattr(agent, name) for name in ("token_file", "ca_file", "cert_file", "key_file")}
    return agent.model_copy(update={name: folder / file for name, file in files.items() if file is not None})


def _with_token(agent: _A, variable: str) -> _A:
    token = os.environ.get(variable)
    if agent.token is not None or agent.token_file is not None or not token:
        return agent
    return agent.model_copy(update={"token": SecretStr(token)})


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _value in node.value]
    for position, key in enumerate(keys):
        if key in keys[:position]:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


class _Loader(yaml.SafeLoader):
    """YAML in which a key given twice is an error; PyYAML takes the last in silence."""

    yaml_constructors = {  # noqa: RUF012 - PyYAML's own shape
        **yaml.SafeLoader.yaml_constructors,
        yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG: _mapping,
    }
