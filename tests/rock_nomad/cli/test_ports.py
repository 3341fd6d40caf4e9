import os
import socket

from rock_nomad.cli.ports import is_free, listener_of


def test_a_taken_port_says_by_whom() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free("127.0.0.1", port)
        owner = listener_of(port)
    assert owner is not None
    assert f"(process {os.getpid()})" in owner
    assert is_free("127.0.0.1", port)


def test_a_port_nobody_has_has_no_listener() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert listener_of(bound.getsockname()[1]) is None
