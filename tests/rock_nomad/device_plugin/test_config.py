from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock_nomad.device_plugin.config import BadConfig, Config, config_schema, read_config
from rock_nomad.device_plugin.plugin import open_hardware


def test_what_nomad_sends_is_read() -> None:
    # Whole numbers come as integers, all keys are there.
    sent = {**msgspec.to_builtins(Config()), "period": 1, "simulate": "A:1", "ignored_gpu_ids": ["GPU-1"]}
    config = read_config(msgspec.msgpack.encode(sent))
    assert (config.period, config.simulate, config.ignored_gpu_ids) == (1.0, "A:1", ["GPU-1"])
    assert read_config(msgspec.msgpack.encode({**sent, "period": "0.1"})).period == 0.1  # as no float is exactly
    assert read_config(b"") == Config()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"simulate": "H100"}, r"simulate is 'H100'; it must be such as .*MODEL:COUNT\[:MIB\]"),
        ({"period": 0}, r"period is 0; it must be a number of seconds above 0"),
        ({"patience": -1}, r"patience is -1; it must be a number of seconds above 0"),
        ({"patience": 2}, r"patience is 2; it must be more than period, which is 5"),
        ({"state_file": "/tmp/x"}, r"state_file is '/tmp/x'; it must be left out, unless simulate is given"),
        ({"state_file": "x", "simulate": "A:1"}, r"state_file is 'x'; it must be an absolute path"),
        ({"sick_file": "x"}, r"sick_file is 'x'; it must be an absolute path"),
        ({"period": "often"}, r"Expected `float`, got `str` - at `\$\.period`"),
        ({"nonsense": 1}, r"unknown field `nonsense`"),
    ],
)
def test_what_will_not_do_is_named_with_what_would(said: dict[str, object], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        read_config(msgspec.msgpack.encode(said))


def test_what_is_no_msgpack_is_refused() -> None:
    with pytest.raises(BadConfig, match="cannot be read"):
        read_config(b"\xc1")


_KEYS = st.sampled_from([*Config.__struct_fields__, "x"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | st.dictionaries(_KEYS, _VALUES).map(msgspec.msgpack.encode))
def test_whatever_is_sent_is_read_or_refused_and_hardware_opens_at_once(data: bytes) -> None:
    try:
        config = read_config(data)
    except BadConfig as refused:
        assert str(refused)
    else:
        open_hardware(config)


def test_the_schema_has_every_key_with_its_default() -> None:
    schema = config_schema()
    assert schema.object is not None
    defaults = {}
    for name, spec in schema.object.attributes.items():
        assert spec.default is not None
        assert spec.default.primary is not None
        assert spec.default.primary.attr is not None
        assert spec.default.default is not None
        assert spec.default.default.literal is not None
        assert spec.default.primary.attr.name == name
        text = spec.default.default.literal.value
        assert "${" not in text
        assert "%{" not in text
        defaults[name] = json.loads(text)
    assert defaults == msgspec.to_builtins(Config())
