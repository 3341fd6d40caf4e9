from __future__ import annotations

from multidict import CIMultiDict

from rocklet.tunnels.headers import pass_headers


def test_the_token_and_what_is_between_neighbours_stays_behind() -> None:
    sent = CIMultiDict(
        {
            "Authorization": "Bearer token",
            "Host": "rocklet",
            "Connection": "Upgrade, X-Hop",
            "X-Hop": "1",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "k",
            "Cookie": "own=1",
            "Origin": "http://page",
        }
    )
    assert pass_headers(sent) == CIMultiDict({"Cookie": "own=1", "Origin": "http://page"})


def test_an_authorization_passes_if_the_token_stands_beside_it() -> None:
    sent = CIMultiDict({"X-Rock-Token": "token", "Authorization": "Basic of the server"})
    assert pass_headers(sent) == CIMultiDict({"Authorization": "Basic of the server"})


def test_a_header_that_comes_twice_passes_twice() -> None:
    assert pass_headers(CIMultiDict([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])).getall("Set-Cookie") == [
        "a=1",
        "b=2",
    ]
