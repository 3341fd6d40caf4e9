from __future__ import annotations

import pytest

from rock.wire.codec import encode
from rock.wire.errors import Forbidden, to_body
from rock.wire.operations import OPERATIONS
from rock.wire.tunnels import ERROR_HEADER, TUNNELS, Tunnel, refusal_from_headers, refusal_to_header


@pytest.mark.parametrize("tunnel", TUNNELS.values(), ids=lambda tunnel: tunnel.name)
def test_a_tunnel_stands_under_its_sandbox_at_a_gateway(tunnel: Tunnel) -> None:
    assert tunnel.gateway_path == tunnel.path.replace("/v1/", "/v1/sandboxes/{sandbox_id}/", 1)


def test_no_tunnel_hides_an_operation() -> None:
    paths = {operation.path for operation in OPERATIONS.values()}
    assert not any(path.startswith(each.path.partition("{")[0]) for path in paths for each in TUNNELS.values())


def test_a_refused_websocket_says_why_in_a_header_whatever_the_words() -> None:
    body = encode(to_body(Forbidden("Tür 22 \r\n bleibt zu", details={"field": "port"})))
    header = refusal_to_header(body)
    assert header.isascii()
    error = refusal_from_headers({ERROR_HEADER: header}, 403)
    assert isinstance(error, Forbidden)
    assert (error.message, error.details) == ("Tür 22 \r\n bleibt zu", {"field": "port"})


@pytest.mark.parametrize("said", ["", "%", "{}", "%7B"])
def test_a_refusal_of_somebody_else_is_none_of_ours(said: str) -> None:
    assert refusal_from_headers({ERROR_HEADER: said}, 403) is None
