"""What the plugin can be told, in its block of Nomad's configuration; and how it tells Nomad that it can.

The only one here who reads the environment.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec

from rock_nomad.device_plugin.messages import Attr, Default, Literal, Object, Spec
from rock_nomad.device_plugin.simulation import parse_models

__all__ = ["BadConfig", "Config", "config_schema", "is_started_by_nomad", "read_config"]

# Not a secret, but how a plugin knows that it is not being run by a person.
# Source: hashicorp/nomad plugins/base/plugin.go, Handshake.
_COOKIE = ("NOMAD_PLUGIN_MAGIC_COOKIE", "e4327c2e01eabfd75a8a67adb114fb34a757d57eee7728d857a8cec6e91a7255")


class BadConfig(Exception):
    """A key's value will not do; the message names both, and says what would."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The plugin's configuration; the field names are its keys."""

    simulate: str = ""
    """`MODEL:COUNT[:MIB],...`: GPUs to make up; empty: those of the node."""
    state_file: str = ""
    """JSON that makes simulated ones sick: {"sick": {"<id>": "<why>"}, "missing": ["<id>"]}."""
    ignored_gpu_ids: list[str] = []
    """Those to leave alone, by UUID."""
    period: float = 5.0
    """Seconds between two looks at all devices.  Errors that the driver reports are seen at once."""
    patience: float = 60.0
    """Seconds without an answer of the driver's, after which every device counts as sick."""
    sick_file: str = "/run/nomad-device-rock/sick.json"
    """Where the devices that had an error are remembered.  Delete it, or a line of it, to give them back.

    In /run, because a reboot cures.
    """
    recheck: bool = False
    """Whether a device that had an error is given back once the driver says that it needs no recovery."""


def is_started_by_nomad() -> bool:
    """Whether this process is an agent's plugin."""
    return os.environ.get(_COOKIE[0]) == _COOKIE[1]


def read_config(data: bytes) -> Config:
    """The configuration as Nomad sends it, in msgpack.

    Raises BadConfig.
    """
    try:
        # Not strict, because a number that no float is exactly, such as 0.1, comes as a text.
        config = msgspec.msgpack.decode(data, type=Config, strict=False) if data else Config()
    except msgspec.MsgspecError as error:
        raise BadConfig(f"the plugin's configuration cannot be read: {error}") from error
    _check(config)
    return config


def _check(config: Config) -> None:
    try:
        parse_models(config.simulate)
    except ValueError as error:
        raise _refused("simulate", config.simulate, f'such as "NVIDIA H100 80GB HBM3:2:81559": {error}') from error
    for key in ("period", "patience"):
        if not getattr(config, key) > 0:
            raise _refused(key, getattr(config, key), "a number of seconds above 0")
    if config.patience <= config.period:
        raise _refused("patience", config.patience, f"more than period, which is {config.period:g}")
    if config.state_file and not config.simulate:
        raise _refused("state_file", config.state_file, "left out, unless simulate is given")
    for key in ("state_file", "sick_file"):
        value = getattr(config, key)
        if value and not Path(value).is_absolute():
            raise _refused(key, value, "an absolute path")


def _refused(key: str, value: object, expected: str) -> BadConfig:
    shown = f"{value:g}" if isinstance(value, float) else repr(value)
    return BadConfig(f"{key} is {shown}; it must be {expected}")


_HCL_TYPES = {"str": "string", "float": "number", "bool": "bool", "list[str]": "list(string)"}


def config_schema() -> Spec:
    """The keys, their types and defaults, for Nomad to check a configuration against."""
    return Spec(object=Object(attributes={field.name: _key_schema(field) for field in msgspec.structs.fields(Config)}))


def _key_schema(field: msgspec.structs.FieldInfo) -> Spec:
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    # A JSON value is an HCL expression, as long as no text has ${ or %{ in it.
    literal = Spec(literal=Literal(value=json.dumps(default)))
    primary = Spec(attr=Attr(name=field.name, type=_HCL_TYPES[Config.__annotations__[field.name]]))
    return Spec(default=Default(primary=primary, default=literal))
