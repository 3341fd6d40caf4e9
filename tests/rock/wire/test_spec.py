import re

import pytest

from rock.wire.codec import decode
from rock.wire.errors import InvalidRequest
from rock.wire.spec import ID_PATTERN, Registry, SandboxSpec


@pytest.mark.parametrize("sandbox_id", ["a", "swe-run-7", "0" * 48, "a-b-c"])
def test_a_good_id_is_taken(sandbox_id: str) -> None:
    assert decode(SandboxSpec, f'{{"sandbox_id":"{sandbox_id}"}}'.encode()).sandbox_id == sandbox_id
    assert re.match(ID_PATTERN, sandbox_id)


@pytest.mark.parametrize("sandbox_id", ["", "-a", "a-", "a--b", "A", "a_b", "a b", "a" * 49, "a\\n", "é", "a.0"])
def test_a_bad_id_is_refused(sandbox_id: str) -> None:
    with pytest.raises(InvalidRequest, match="sandbox_id"):
        decode(SandboxSpec, f'{{"sandbox_id":"{sandbox_id}"}}'.encode())


@pytest.mark.parametrize("sandbox_id", ["group.0", "group.999"])
def test_a_members_id_is_an_id_but_cannot_be_asked_for(sandbox_id: str) -> None:
    assert re.match(ID_PATTERN, sandbox_id)
    assert not re.match(ID_PATTERN, "group.01")


def test_credentials_are_in_no_repr() -> None:
    spec = SandboxSpec(registry=Registry(username="u", password="hunter2"))
    assert "hunter2" not in repr(spec)
