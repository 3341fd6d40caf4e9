from rock.wire import messages
from rock.wire.messages import RockletEndpoint


def test_every_public_message_says_what_it_is() -> None:
    assert all(getattr(messages, name).__doc__ for name in messages.__all__ if name[0].isupper() and name != "Path")


def test_a_token_is_in_no_repr() -> None:
    assert "hunter2" not in repr(RockletEndpoint(sandbox_id="a", url="http://x", token="hunter2", alloc_id="b"))
