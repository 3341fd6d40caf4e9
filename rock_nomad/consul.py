"""All we ask of Consul: where a sandbox's rocklet listens, and a few keys.

By py-consul's asyncio client, whose traps are kept in here: its environment overrules its arguments, it gives up after
300 s while Consul may hold a query for longer, and its indexes are texts.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import consul.aio
import msgspec
from consul.callback import CB
from consul.exceptions import ACLDisabled, ACLPermissionDenied, ConsulException

from rock.wire.errors import ClusterUnavailable
from rock_nomad.agents import AgentToken, describe_failure
from rock_nomad.config import ConsulConfig

__all__ = ["Consul", "KeyValue", "Right", "Service"]

CONNECTIONS = 96
"""Of the 200 that an agent grants one address."""

LONG_POLLS = 64
"""Of these; the rest are for calls that do not wait."""

_SIGHT_AGE = 60.0
"""Seconds for which a token that could see still can."""

_HEALTH = ("critical", "warning", "passing")  # the worse, the earlier

_T = TypeVar("_T")


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A rocklet, as Consul knows it."""

    address: str
    port: int
    meta: dict[str, str]
    """As the renderer wrote it: sandbox_id, tenant, managed_by, secret, alloc_id."""
    status: str
    """Of its checks the worst: `passing`, `warning` or `critical`; critical until the first check has run."""
    alloc_id: str


class KeyValue(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of Consul's store."""

    key: str
    value: bytes
    modify_index: int
    """What a later write with `cas` compares."""


class Right(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What a token may be let do."""

    resource: str
    """Such as `service`."""
    segment: str
    """Which: a whole name."""
    access: str
    """`read` or `write`."""


class Consul:
    """A Consul agent.  An async context manager: it belongs to the loop that entered it.

    Every method raises ClusterUnavailable when Consul does not answer, or does not let us.
    """

    def __init__(self, config: ConsulConfig) -> None:
        self._config = config
        self._token = AgentToken(config)
        self._polls = asyncio.Semaphore(LONG_POLLS)
        self._client: consul.aio.Consul | None = None
        self._looking = asyncio.Lock()
        self._sees_until = 0.0

    async def __aenter__(self) -> Consul:
        self._client = _client(self._config)
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        if self._client is not None:
            await self._client.close()

    async def rocklets(self, service: str, *, index: int | None = None, wait: float = 0.0) -> tuple[int, list[Service]]:
        """The rocklets registered under a name, the healthiest and newest first, and the index to wait on.

        With an index it answers as soon as they differ from then, or after `wait` seconds, and perhaps earlier with the
        same.  Consul lowers an index after a restore: what comes back is to be passed on, unchanged.  A name that
        nobody has registered yet can be waited for.

        Raises ClusterUnavailable also where our token may not see them: Consul answers that with an empty list.
        """
        waiting = {"index": index, "wait": f"{int(wait * 1000)}ms"} if index and wait else {}
        if waiting:
            async with self._polls:
                # Consul adds up to a sixteenth to a wait, so that not all waiters return at once.
                limit = wait * 17 / 16 + self._config.timeout
                call = self._open.health.service(service, token=self._token.get(), **waiting)
                found, rows = await self._answer(call, limit)
        else:
            found, rows = await self._answer(self._open.health.service(service, token=self._token.get()))
        if not rows:
            await self._require_sight(service)
        return _index(found), _by_merit(rows or [])

    async def find_rocklet(self, service: str) -> Service | None:
        """The rocklet registered under a name, or None."""
        _found, services = await self.rocklets(service)
        return services[0] if services else None

    async def kv_get(self, key: str) -> KeyValue | None:
        """The entry of a key, or None."""
        _found, row = await self._answer(self._open.kv.get(key, token=self._token.get()))
        return _key_value(row) if row else None

    async def kv_list(self, prefix: str) -> list[KeyValue]:
        """All entries whose key begins so."""
        _found, rows = await self._answer(self._open.kv.get(prefix, recurse=True, token=self._token.get()))
        return [_key_value(row) for row in rows or []]

    async def kv_put(self, key: str, value: bytes, *, cas: int | None = None) -> bool:
        """Write an entry; whether it was.  With `cas`, only if its modify_index is still that; 0: if there is none."""
        return bool(await self._answer(self._open.kv.put(key, value, cas=cas, token=self._token.get())))

    async def kv_delete(self, key: str, *, cas: int | None = None, recurse: bool = False) -> bool:
        """Delete an entry, or all whose key begins so; whether there is nothing left in the way of `cas`."""
        call = self._open.kv.delete(key, recurse=recurse or None, cas=cas, token=self._token.get())
        return bool(await self._answer(call))

    async def agent(self) -> dict[str, Any]:
        """The agent that answers us: `Config.Version` and who it is."""
        # py-consul's own call for this sends no token.
        headers = self._open.prepare_headers(self._token.get())
        return dict(await self._answer(self._open.http.get(CB.json(), "/v1/agent/self", headers=headers)))

    async def are_granted(self, rights: Sequence[Right]) -> list[bool]:
        """Whether our token has each of some rights; without ACLs everybody has them all.

        Reading tells nothing: for lack of rights Consul's lists are empty.  Source: what Consul's own web interface
        asks (agent/http_register.go); seen on Consul 1.8.7.
        """
        headers = self._open.prepare_headers(self._token.get())
        body = msgspec.json.encode(rights).decode()
        call = self._open.http.post(CB.json(), "/v1/internal/acl/authorize", data=body, headers=headers)
        try:
            return [row["Allow"] for row in await self._answer(call)]
        except ClusterUnavailable as error:
            if isinstance(error.__cause__, ACLDisabled):
                return [True] * len(rights)
            raise

    async def _require_sight(self, service: str) -> None:
        """Make sure, once a minute, that what we do not see is not there.

        Raises ClusterUnavailable: we may not see it.
        """
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if now < self._sees_until:
                return
            rights = [
                Right(resource="service", segment=service, access="read"),
                Right(resource="node", segment="any", access="read"),  # a service is shown only with its node
            ]
            granted = await self.are_granted(rights)
            lacking = [right.resource for right, is_granted in zip(rights, granted, strict=True) if not is_granted]
            if lacking:
                raise self._forbidden(f"it may not read any {' or '.join(lacking)}, so no sandbox is seen", *lacking)
            self._sees_until = now + _SIGHT_AGE

    @property
    def _open(self) -> consul.aio.Consul:
        if self._client is None:
            raise RuntimeError("a Consul is used inside `async with`")
        return self._client

    async def _answer(self, call: Awaitable[_T], limit: float | None = None) -> _T:
        try:
            async with asyncio.timeout(limit or self._config.timeout):
                return await call
        except ACLPermissionDenied as error:
            raise self._forbidden(str(error)) from error
        except ConsulException as error:
            raise ClusterUnavailable(f"consul at {self._config.url} failed: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = describe_failure(error, self._config)
            raise ClusterUnavailable(f"consul does not answer at {self._config.url}: {why}") from error

    def _forbidden(self, said: str, *resources: str) -> ClusterUnavailable:
        if "ACL not found" in said:  # Consul forgets a token that has expired
            remedy = "give the gateway another (token_file is read again when it changes)"
        else:
            remedy = "grant it what jobspecs/acl-consul.hcl does"
        details = {"status": 403, **({"right": f"{' and '.join(resources)} read"} if resources else {})}
        message = f"consul at {self._config.url} refuses the gateway's token: {said}; {remedy}"
        return ClusterUnavailable(message, details=details)


def _client(config: ConsulConfig) -> consul.aio.Consul:
    url = urlsplit(config.url)
    cert = (str(config.cert_file), str(config.key_file or config.cert_file)) if config.cert_file else None
    with warnings.catch_warnings():
        # py-consul 1.8 passes aiohttp the older names of its arguments.
        warnings.simplefilter("ignore", DeprecationWarning)
        client = consul.aio.Consul(
            host=url.hostname,
            port=url.port or (443 if url.scheme == "https" else 80),
            scheme=url.scheme,
            verify=str(config.ca_file) if config.ca_file else True,
            cert=cert,
            connections_limit=CONNECTIONS,
            # Beyond every wait of ours: deadlines are set around each call.
            connections_timeout=3600,
        )
    # It prefers CONSUL_HTTP_TOKEN to what it is given; ours goes with every call.
    client.token = None
    return client


def _by_merit(rows: Iterable[Mapping[str, Any]]) -> list[Service]:
    # A node that was lost leaves its registrations behind; the living one is healthy, or at least newer.
    ranked = sorted(rows, key=lambda row: (_HEALTH.index(_status(row)), row["Service"]["CreateIndex"]), reverse=True)
    return [_service(row) for row in ranked]


def _service(row: Mapping[str, Any]) -> Service:
    service = row["Service"]
    meta = service.get("Meta") or {}
    return Service(
        address=service.get("Address") or row["Node"]["Address"],
        port=service["Port"],
        meta=meta,
        status=_status(row),
        alloc_id=meta.get("alloc_id", ""),
    )


def _status(row: Mapping[str, Any]) -> str:
    states = {check.get("Status") for check in row.get("Checks") or []}
    return next((state for state in _HEALTH if state in states), "passing")


def _key_value(row: Mapping[str, Any]) -> KeyValue:
    return KeyValue(key=row["Key"], value=row["Value"] or b"", modify_index=row["ModifyIndex"])


def _index(text: str) -> int:
    return int(text) if text.isdecimal() else 0
