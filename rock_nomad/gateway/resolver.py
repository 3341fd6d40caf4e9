"""Whom to talk to: the read path's one question, which Nomad is asked only when Consul knows nobody."""

from __future__ import annotations

from rock.wire.errors import RockException
from rock.wire.messages import RockletEndpoint
from rock_nomad.gateway.locator import Locator
from rock_nomad.gateway.observer import Observer

__all__ = ["Resolver"]


class Resolver:
    """Resolves sandboxes to endpoints, from memory where it can."""

    def __init__(self, locator: Locator, observer: Observer) -> None:
        self._locator, self._observer = locator, observer

    async def resolve(self, tenant: str, sandbox_id: str) -> RockletEndpoint:
        """The endpoint, from memory or from Consul.

        Raises SandboxNotFound, SandboxEnded, SandboxDied, StartFailed, NotReady, SandboxUnreachable: as Nomad has it,
        where Consul has none.
        """
        endpoint = self._locator.known(tenant, sandbox_id) or await self._locator.find(tenant, sandbox_id)
        if endpoint is None:
            raise await self.why_gone(tenant, sandbox_id)
        return endpoint

    def forget(self, tenant: str, endpoint: RockletEndpoint) -> None:
        """Do not use this endpoint again: it failed, or it is another sandbox's by now."""
        self._locator.forget(tenant, endpoint)

    async def why_gone(self, tenant: str, sandbox_id: str) -> RockException:
        """The error that says why a sandbox's rocklet cannot be talked to, by Nomad's word."""
        return await self._observer.why_gone(tenant, sandbox_id)
