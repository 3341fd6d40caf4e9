"""Who may call: whoever shows the token whose SHA-256 the job carries."""

from __future__ import annotations

import hashlib
import hmac

from rock.wire.errors import Unauthorized

__all__ = ["check_token", "is_token"]


def check_token(authorization: str | None, token_sha256: str) -> None:
    """Let a caller pass who shows the token, in an `Authorization: Bearer` header.

    Raises Unauthorized.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("no token came; send this sandbox's as `Authorization: Bearer ...`")
    if not is_token(token.strip(), token_sha256):
        raise Unauthorized("the token is not this sandbox's; resolve the sandbox once more")


def is_token(token: str, token_sha256: str) -> bool:
    """Whether a token is the one with that SHA-256; compared in constant time."""
    digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
    return hmac.compare_digest(digest, token_sha256)
