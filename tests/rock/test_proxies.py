from __future__ import annotations

import pytest

from rock._proxies import find_proxy
from rock.wire.errors import BadRequestRockError

PROXY = "http://proxy:3128"


def test_without_variables_there_is_no_proxy() -> None:
    assert find_proxy("http://gateway:8080", {}) is None


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("http://gateway", {"HTTP_PROXY": PROXY}, PROXY),
        ("https://gateway", {"HTTP_PROXY": PROXY}, None),
        ("https://gateway", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://gateway", {"ALL_PROXY": PROXY}, PROXY),
        ("http://gateway", {"http_proxy": "http://lower", "HTTP_PROXY": PROXY}, "http://lower"),
        ("http://gateway", {"HTTP_PROXY": "proxy:3128"}, PROXY),
        ("http://gateway", {"HTTP_PROXY": ""}, None),
    ],
)
def test_the_scheme_names_the_variable(url: str, environ: dict[str, str], proxy: str | None) -> None:
    assert find_proxy(url, environ) == proxy


@pytest.mark.parametrize(
    ("url", "no_proxy"),
    [
        ("http://gateway:8080", "*"),
        ("http://gateway:8080", "other, gateway"),
        ("http://gateway:8080", "gateway:8080"),
        ("http://gateway", "gateway:80"),
        ("http://Gateway.Example.com.", "example.com"),
        ("http://gateway.example.com", ".example.com"),
        ("http://gateway.example.com", "*.example.com"),
        ("http://10.1.2.3:8080", "10.0.0.0/8"),
        ("http://10.1.2.3:8080", "10.1.2.3"),
        ("http://[fd00::7]:8080", "fd00::/8"),
        ("http://[fd00::7]:8080", "[fd00::7]:8080"),
    ],
)
def test_no_proxy_covers(url: str, no_proxy: str) -> None:
    assert find_proxy(url, {"HTTP_PROXY": PROXY, "NO_PROXY": no_proxy}) is None


@pytest.mark.parametrize(
    ("url", "no_proxy"),
    [
        ("http://gateway:8080", "gateway:9090"),
        ("http://gateway", "gateway:8080"),
        ("http://mygateway", "gateway"),
        ("http://11.1.2.3", "10.0.0.0/8"),
        ("http://gateway", ","),
    ],
)
def test_no_proxy_does_not_cover(url: str, no_proxy: str) -> None:
    assert find_proxy(url, {"HTTP_PROXY": PROXY, "NO_PROXY": no_proxy}) == PROXY


def test_a_socks_proxy_is_refused_without_showing_its_password() -> None:
    with pytest.raises(BadRequestRockError, match="socks5 proxy") as caught:
        find_proxy("http://gateway", {"ALL_PROXY": "socks5://me:hidden@proxy"})
    assert "hidden" not in str(caught.value)
