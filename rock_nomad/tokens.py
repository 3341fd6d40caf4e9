"""Sandbox tokens: an HMAC of the cluster's secret, so that nothing has to be stored and replicas agree."""

from __future__ import annotations

import hashlib
import hmac

from rock.wire.errors import SandboxUnreachable

__all__ = ["MIN_SECRET_BYTES", "Secrets", "sha256_hex"]

MIN_SECRET_BYTES = 32
_NAME_CHARACTERS = 12  # of the fingerprint's hex digits: it tells secrets apart and says nothing of them


def sha256_hex(token: str) -> str:
    """What a job carries in place of a token, and a keys file in place of a key."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Secrets:
    """The cluster's secret and, while it is being changed, the one before.

    New sandboxes get their token from the current one; each sandbox's Consul service names the one that made its token,
    so that sandboxes live on through one change of the secret.
    """

    def __init__(self, current: bytes, previous: bytes | None = None) -> None:
        for secret in (current, previous):
            if secret is not None and len(secret) < MIN_SECRET_BYTES:
                raise ValueError(f"a cluster secret has {len(secret)} bytes; it must have at least {MIN_SECRET_BYTES}")
        self._current = current
        self._by_name = {_name(secret): secret for secret in (previous, current) if secret is not None}

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._by_name)})"

    @property
    def name(self) -> str:
        """A fingerprint of the current secret, fit to be shown."""
        return _name(self._current)

    def token(self, tenant: str, sandbox_id: str) -> str:
        """The token of a sandbox that is made now."""
        return _token(self._current, tenant, sandbox_id)

    def token_of(self, tenant: str, sandbox_id: str, secret_name: str) -> str:
        """The token of a sandbox that was made with the secret of this name.

        Raises SandboxUnreachable: that secret is neither the current nor the previous one.
        """
        secret = self._by_name.get(secret_name)
        if secret is None:
            raise SandboxUnreachable(
                f"sandbox {sandbox_id} was made with the cluster secret {secret_name!r}, which this gateway does not "
                f"have; give it that secret as the previous one"
            )
        return _token(secret, tenant, sandbox_id)


def _name(secret: bytes) -> str:
    return hmac.new(secret, b"name", hashlib.sha256).hexdigest()[:_NAME_CHARACTERS]


def _token(secret: bytes, tenant: str, sandbox_id: str) -> str:
    # The length keeps ("ab", "c") and ("a", "bc") apart; the word keeps tokens apart from names.
    message = f"token:{len(tenant)}:{tenant}{sandbox_id}"
    return hmac.new(secret, message.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
