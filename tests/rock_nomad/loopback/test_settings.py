import msgspec
import pytest

from rock_nomad.loopback.settings import NodeSettings, Settings


def test_nothing_said_is_one_node_that_asks_for_tokens() -> None:
    settings = msgspec.json.decode("{}", type=Settings)
    assert settings == Settings(nodes=(NodeSettings(),), acl=True, tls=False)


@pytest.mark.parametrize("said", ['{"node": 2}', '{"nodes": [{"plugin": {}}]}'])
def test_an_unknown_key_is_an_error(said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(said, type=Settings)
