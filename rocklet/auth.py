"""Who may call: whoever shows the token whose SHA-256 the job carries."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from rock.wire.errors import Unauthorized
from rock.wire.tunnels import TOKEN_HEADER

__all__ = ["check_token", "is_token"]


def check_token(headers: Mapping[str, str], token_sha256: str) -> None:
    """Let a caller pass who shows the token, in `TOKEN_HEADER`, or else as `Authorization: Bearer`.

    Raises Unauthorized.
    """
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if TOKEN_HEADER in headers:
        token = headers[TOKEN_HEADER]
    elif scheme.lower() != "bearer" or not token:
        raise Unauthorized("no token came; send this sandbox's as `Authorization: Bearer ...`")
    if not is_token(token.strip(), token_sha256):
        raise Unauthorized("the token is not this sandbox's; resolve the sandbox once more")


def is_token(token: str, token_sha256: str) -> bool:
    """Whether a token is the one with that SHA-256; compared in constant time."""
    digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
    return hmac.compare_digest(digest, token_sha256)
