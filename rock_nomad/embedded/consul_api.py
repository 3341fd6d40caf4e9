"""Consul's HTTP API over the catalog: every handler of `routes.CONSUL_ROUTES`."""

import hmac
import platform
from collections.abc import Callable, Hashable, Sequence

from aiohttp import web

from rock_nomad.embedded.catalog import Catalog
from rock_nomad.embedded.errors import Refused
from rock_nomad.embedded.http import BlockingQuery, Handler, build_application, json_response
from rock_nomad.embedded.node import VERSION
from rock_nomad.embedded.routes import CONSUL_COMMON, CONSUL_ROUTES
from rock_nomad.embedded.rows import DATACENTER


class ConsulApi:
    """Answers Consul's calls from one catalog."""

    def __init__(self, catalog: Catalog, token: str) -> None:
        self._catalog, self._token = catalog, token.encode()

    def application(self) -> web.Application:
        """The application to serve."""
        handlers: dict[str, Handler] = {route.name: getattr(self, f"_{route.name}") for route in CONSUL_ROUTES}
        return build_application(CONSUL_ROUTES, handlers, CONSUL_COMMON)

    def _is_known(self, request: web.Request) -> bool:
        """Whether a request has the token; False if it has none.

        Raises Refused: it has another.  Source: seen on Consul 1.8.7 with ACLs and a default policy of deny.
        """
        given = request.headers.get("X-Consul-Token", "")
        if given and not hmac.compare_digest(given.encode(), self._token):
            raise Refused(403, "ACL not found")
        return bool(given)

    def _require(self, request: web.Request) -> None:
        if not self._is_known(request):
            raise Refused(403, "Permission denied")

    async def _get_health(self, request: web.Request) -> web.Response:
        name, catalog = request.match_info["name"], self._catalog
        if not self._is_known(request):
            return self._reply([], 1)  # as Consul: no permission looks like no service
        await self._block(request, ("service", name), lambda: catalog.service_index(name))
        rows = catalog.health(name, passing=_has_flag(request, "passing"))
        return self._reply(rows, catalog.service_index(name))

    async def _list_services(self, request: web.Request) -> web.Response:
        if not self._is_known(request):
            return self._reply({}, 1)
        await self._block(request, "services", self._catalog.services_index)
        return self._reply(self._catalog.services(), self._catalog.services_index())

    async def _get_key(self, request: web.Request) -> web.Response:
        key, catalog = request.match_info["key"], self._catalog
        is_listing, is_recursive = _has_flag(request, "keys"), _has_flag(request, "recurse")
        if (is_listing or is_recursive) and not self._is_known(request):
            return web.Response(status=404, headers=self._headers(1))
        self._require(request)

        def find() -> tuple[int, Sequence[object]]:
            if is_listing:
                return catalog.keys_under(key, request.query.get("separator", ""))
            return catalog.get_under(key) if is_recursive else catalog.get(key)

        watched = ("prefix" if is_listing or is_recursive else "key", key)
        await self._block(request, watched, lambda: find()[0])
        index, rows = find()
        if not rows:
            return web.Response(status=404, headers=self._headers(index))
        return self._reply(rows, index)

    async def _put_key(self, request: web.Request) -> web.Response:
        self._require(request)
        flags, cas = _number(request, "flags") or 0, _number(request, "cas")
        value = await request.read()
        return json_response(self._catalog.put(request.match_info["key"], value, flags=flags, cas=cas))

    async def _delete_key(self, request: web.Request) -> web.Response:
        self._require(request)
        recurse, cas = _has_flag(request, "recurse"), _number(request, "cas")
        return json_response(self._catalog.delete(request.match_info["key"], recurse=recurse, cas=cas))

    async def _authorize(self, request: web.Request) -> web.Response:
        is_known = self._is_known(request)
        return json_response([{**right, "Allow": is_known} for right in await request.json()])

    async def _get_agent(self, request: web.Request) -> web.Response:
        self._require(request)
        name = platform.node()
        config = {"Datacenter": DATACENTER, "NodeName": name, "Server": True, "Version": VERSION, "Revision": ""}
        return json_response({"Config": config, "Member": {"Name": name, "Addr": "127.0.0.1", "Status": 1}})

    async def _get_leader(self, request: web.Request) -> web.Response:
        return json_response(request.host)

    async def _block(self, request: web.Request, key: Hashable, read_index: Callable[[], int]) -> None:
        await BlockingQuery.from_request(request).until_newer(read_index, self._catalog.watches, key)

    def _reply(self, value: object, index: int) -> web.Response:
        return json_response(value, headers=self._headers(index))

    def _headers(self, index: int) -> dict[str, str]:
        return {"X-Consul-Index": str(index), "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0"}


def _has_flag(request: web.Request, name: str) -> bool:
    """Consul's flags count as set when they stand there, with `1`, `true` or nothing behind them."""
    return name in request.query and request.query[name] not in ("0", "false")


def _number(request: web.Request, name: str) -> int | None:
    if name not in request.query:
        return None
    if not request.query[name].isdecimal():
        raise Refused(400, f"Invalid {name}: {request.query[name]!r} is no number")
    return int(request.query[name])
