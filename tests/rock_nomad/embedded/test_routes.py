from __future__ import annotations

import re
from pathlib import Path

import pytest

from rock_nomad.embedded.consul_api import ConsulApi
from rock_nomad.embedded.nomad_api import NomadApi
from rock_nomad.embedded.routes import CONSUL_ROUTES, NOMAD_ROUTES, Route

CLIENTS = Path(__file__).parents[3] / "rock_nomad"


@pytest.mark.parametrize(("api", "routes"), [(NomadApi, NOMAD_ROUTES), (ConsulApi, CONSUL_ROUTES)])
def test_every_route_has_its_handler_and_stands_once(api: type, routes: tuple[Route, ...]) -> None:
    assert all(callable(getattr(api, f"_{route.name}")) for route in routes)
    assert len({route.name for route in routes}) == len({(route.method, route.path) for route in routes}) == len(routes)


def test_what_the_client_of_nomad_asks_for_is_answered() -> None:
    source = (CLIENTS / "nomad.py").read_text()
    asked = set(re.findall(r"(?:_get|_find|_list)\(\s*f?\"([a-z/]+)", source))
    answered = {route.path.removeprefix("/v1/") for route in NOMAD_ROUTES}
    assert asked
    assert all(any(path.startswith(part) for path in answered) for part in asked)
