from multidict import CIMultiDict

from rock_nomad.gateway import headers


def test_a_clients_key_and_its_connections_headers_stay_at_the_gateway() -> None:
    sent = CIMultiDict(
        {
            "Authorization": "Bearer key",
            "X-API-Key": "key",
            "Host": "gateway:8080",
            "Connection": "keep-alive, X-Hop",
            "X-Hop": "1",
            "Transfer-Encoding": "chunked",
            "Content-Type": "application/json",
            "Content-Length": "3",
        }
    )
    passed = headers.to_rocklet(sent, {"Authorization": "Bearer token"})
    assert passed == CIMultiDict(
        {"Content-Type": "application/json", "Content-Length": "3", "Authorization": "Bearer token"}
    )


def test_a_header_that_is_sent_twice_passes_twice() -> None:
    sent = CIMultiDict([("X-Trace", "a"), ("X-Trace", "b")])
    assert headers.to_rocklet(sent, {}).getall("X-Trace") == ["a", "b"]


def test_a_rocklets_headers_pass_without_those_that_the_gateway_says_itself() -> None:
    said = CIMultiDict({"Server": "x", "Date": "y", "X-Content-SHA256": "ab", "Keep-Alive": "5", "ETag": "e"})
    assert headers.to_client(said) == CIMultiDict({"X-Content-SHA256": "ab", "ETag": "e"})
