"""A request for a sandbox as this cluster's Nomad job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rock.wire.spec import SandboxSpec
from rock_nomad.config import ClusterProfile
from rock_nomad.jobspec import render_job, spec_hash
from rock_nomad.names import new_sandbox_id, sandbox_id_for_key
from rock_nomad.tokens import Secrets, sha256_hex

__all__ = ["Renderer"]

Row = dict[str, Any]


class Renderer:
    """Knows the cluster's profile, its base job and its secret, and so makes jobs of specs."""

    def __init__(self, profile: ClusterProfile, base: Mapping[str, Any], tokens: Secrets) -> None:
        self._profile, self._base, self._tokens = profile, base, tokens

    def render(self, spec: SandboxSpec, *, tenant: str, idempotency_key: str | None = None) -> tuple[str, Row]:
        """The sandbox's id and its job; the spec's own id, or the key's, or a new one.

        Raises InvalidRequest: the spec asks for what this cluster does not offer.
        """
        if spec.sandbox_id is not None:
            sandbox_id = spec.sandbox_id
        elif idempotency_key:
            sandbox_id = sandbox_id_for_key(tenant, idempotency_key)
        else:
            sandbox_id = new_sandbox_id()
        job = render_job(
            spec,
            sandbox_id=sandbox_id,
            tenant=tenant,
            digest=spec_hash(msgspec.to_builtins(spec)),
            token_sha256=sha256_hex(self._tokens.token(tenant, sandbox_id)),
            secret_name=self._tokens.name,
            profile=self._profile,
            base=self._base,
        )
        return sandbox_id, job
