"""Where a sandbox's rocklet listens: asked of Consul once, remembered until it fails."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from rock.wire.messages import RockletEndpoint
from rock_nomad.consul import Consul, Service
from rock_nomad.names import service_name
from rock_nomad.tokens import Secrets

__all__ = ["AddressBook", "Locator"]

_SIZE = 20_000  # endpoints, some 10 MB
_MAX_AGE = 600.0  # seconds

_Key = tuple[str, str]


class AddressBook:
    """Endpoints by tenant and sandbox: so many at most, each for so long at most, the least used goes first."""

    def __init__(
        self, *, size: int = _SIZE, max_age: float = _MAX_AGE, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._size, self._max_age, self._now = size, max_age, now
        self._entries: OrderedDict[_Key, tuple[RockletEndpoint, float]] = OrderedDict()

    def look_up(self, tenant: str, sandbox_id: str) -> RockletEndpoint | None:
        """The endpoint, if it is known and young enough."""
        entry = self._entries.get((tenant, sandbox_id))
        if entry is None:
            return None
        endpoint, noted_at = entry
        if self._now() - noted_at > self._max_age:
            del self._entries[tenant, sandbox_id]
            return None
        self._entries.move_to_end((tenant, sandbox_id))
        return endpoint

    def note(self, tenant: str, endpoint: RockletEndpoint) -> None:
        """Remember an endpoint."""
        self._entries[tenant, endpoint.sandbox_id] = endpoint, self._now()
        self._entries.move_to_end((tenant, endpoint.sandbox_id))
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def forget(self, tenant: str, endpoint: RockletEndpoint) -> None:
        """Drop an endpoint that failed, unless a better one was noted meanwhile."""
        entry = self._entries.get((tenant, endpoint.sandbox_id))
        if entry is not None and entry[0] == endpoint:
            del self._entries[tenant, endpoint.sandbox_id]

    def __len__(self) -> int:
        return len(self._entries)


class Locator:
    """Finds rocklets in Consul.

    A token says which tenant and sandbox it is for, so an endpoint for the wrong tenant would open nothing.
    """

    def __init__(self, consul: Consul, tokens: Secrets, book: AddressBook, *, cluster: str) -> None:
        self._consul, self._tokens, self._book, self._cluster = consul, tokens, book, cluster

    def known(self, tenant: str, sandbox_id: str) -> RockletEndpoint | None:
        """The endpoint that is remembered, if any."""
        return self._book.look_up(tenant, sandbox_id)

    async def find(self, tenant: str, sandbox_id: str) -> RockletEndpoint | None:
        """The endpoint that Consul has now, if any.

        Raises ClusterUnavailable; SandboxUnreachable: this gateway lacks the secret that the token was made from.
        """
        service = await self._consul.find_rocklet(service_name(sandbox_id))
        return self.note(tenant, sandbox_id, service) if service is not None else None

    def note(self, tenant: str, sandbox_id: str, service: Service) -> RockletEndpoint | None:
        """Remember what Consul said of a sandbox; None if it is another tenant's, or another cluster's.

        Raises SandboxUnreachable: this gateway lacks the secret that the token was made from.
        """
        if (service.meta.get("tenant"), service.meta.get("managed_by")) != (tenant, self._cluster):
            return None
        host = f"[{service.address}]" if ":" in service.address else service.address
        endpoint = RockletEndpoint(
            sandbox_id=sandbox_id,
            url=f"http://{host}:{service.port}",
            token=self._tokens.token_of(tenant, sandbox_id, service.meta.get("secret", "")),
            alloc_id=service.alloc_id,
        )
        self._book.note(tenant, endpoint)
        return endpoint

    def forget(self, tenant: str, endpoint: RockletEndpoint) -> None:
        """Do not use this endpoint again: it failed, or it is another sandbox's by now."""
        self._book.forget(tenant, endpoint)
