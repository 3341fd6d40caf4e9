import inspect

import msgspec
import pytest

from rock.wire import messages, spec
from rock.wire.messages import RockletEndpoint

STRUCTS = [
    cls
    for module in (messages, spec)
    for cls in vars(module).values()
    if inspect.isclass(cls) and issubclass(cls, msgspec.Struct) and cls is not msgspec.Struct
]


@pytest.mark.parametrize("cls", STRUCTS, ids=lambda cls: cls.__name__)
def test_every_struct_is_frozen_and_says_what_it_is(cls: type[msgspec.Struct]) -> None:
    assert cls.__struct_config__.frozen
    assert cls.__doc__


@pytest.mark.parametrize("cls", STRUCTS, ids=lambda cls: cls.__name__)
def test_every_struct_takes_keywords_only(cls: type[msgspec.Struct]) -> None:
    with pytest.raises(TypeError, match="Extra positional arguments"):
        cls(*[None] * 50)


def test_a_token_is_in_no_repr() -> None:
    assert "hunter2" not in repr(RockletEndpoint(sandbox_id="a", url="http://x", token="hunter2", alloc_id="b"))
