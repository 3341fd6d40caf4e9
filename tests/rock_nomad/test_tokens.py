from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock.wire.errors import SandboxUnreachable
from rock_nomad.tokens import Secrets, sha256_hex

NEW, OLD = b"n" * 32, b"o" * 32


def test_a_token_is_the_same_on_every_replica_and_another_for_every_sandbox() -> None:
    assert Secrets(NEW).token("red", "a") == Secrets(NEW, OLD).token("red", "a")
    tokens = {Secrets(NEW).token(*names) for names in (("red", "a"), ("red", "b"), ("blue", "a"), ("re", "da"))}
    assert len(tokens) == 4


@given(st.text(), st.text())
def test_a_sandbox_keeps_its_token_through_a_change_of_the_secret(tenant: str, sandbox_id: str) -> None:
    before = Secrets(OLD)
    after = Secrets(NEW, OLD)
    assert after.token_of(tenant, sandbox_id, before.name) == before.token(tenant, sandbox_id)
    assert after.token(tenant, sandbox_id) != before.token(tenant, sandbox_id)
    assert after.token_of(tenant, sandbox_id, after.name) == after.token(tenant, sandbox_id)


def test_a_secret_that_is_gone_is_named_with_the_remedy() -> None:
    with pytest.raises(SandboxUnreachable, match=f"{Secrets(OLD).name}.*previous"):
        Secrets(NEW).token_of("red", "a", Secrets(OLD).name)


def test_no_secret_shows_in_a_repr_or_a_name() -> None:
    secrets = Secrets(NEW, OLD)
    assert "n" * 4 not in repr(secrets)
    assert "o" * 4 not in repr(secrets)
    assert secrets.name in repr(secrets)
    assert secrets.name not in secrets.token("red", "a")


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        Secrets(b"short")


def test_what_a_job_carries_is_the_tokens_sha256() -> None:
    assert sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
