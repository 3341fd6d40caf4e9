"""Errors that are httpx's too.  httpx is no dependency: where it is not installed, a stand-in of its shape is used."""

from __future__ import annotations

import pickle
import sys
from types import ModuleType
from typing import Any

import pytest

from rock._config import find_gateway
from rock._convert import from_observation
from rock._gateway import Gateway
from rock._httpx import as_httpx
from rock._requests import BashAction
from rock.errors import (
    CommandTimeout,
    GatewayUnreachable,
    InternalServerRockError,
    OutcomeUnknown,
    RockException,
    SandboxNotFound,
    SandboxUnreachable,
)
from rock.wire import messages as m
from rock.wire.operations import GET_CLUSTER
from tests.rock.servers import refused_url


def _stand_in() -> ModuleType:
    """httpx's exceptions, as they are made and derived there."""

    class HTTPError(Exception):
        def __init__(self, message: str) -> None:
            super().__init__(message)
            self._request = None

    class RequestError(HTTPError):
        def __init__(self, message: str, *, request: object = None) -> None:
            super().__init__(message)

    class TransportError(RequestError): ...

    class TimeoutException(TransportError): ...

    class NetworkError(TransportError): ...

    module = ModuleType("httpx")
    bases = {"ReadTimeout": TimeoutException, "ConnectError": NetworkError, "ReadError": NetworkError}
    classes: dict[str, type] = {name: type(name, (base,), {}) for name, base in bases.items()}
    vars(module).update(classes, HTTPError=HTTPError, NetworkError=NetworkError, TimeoutException=TimeoutException)
    return module


@pytest.fixture
def httpx(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - a module that may not be installed
    try:
        import httpx as module  # type: ignore[import-not-found,unused-ignore]  # no dependency
    except ImportError:
        module = _stand_in()
    monkeypatch.setitem(sys.modules, "httpx", module)
    return module


@pytest.mark.parametrize(
    ("error", "counterpart"),
    [
        (GatewayUnreachable("no answer"), "ConnectError"),
        (SandboxUnreachable("no answer"), "ConnectError"),
        (OutcomeUnknown("lost", details={"executed": "unknown"}), "ReadError"),
        (CommandTimeout("late", details={"output": "x"}), "ReadTimeout"),
    ],
)
def test_a_connection_or_time_out_error_is_both(httpx: Any, error: RockException, counterpart: str) -> None:  # noqa: ANN401
    both = as_httpx(error)
    for each in (both, pickle.loads(pickle.dumps(both))):
        assert isinstance(each, type(error))
        assert isinstance(each, getattr(httpx, counterpart))
        assert (each.message, each.details, each.code) == (error.message, error.details, error.code)
        assert type(each).__name__ == type(error).__name__
    assert type(both) is type(as_httpx(error))


def test_an_error_without_a_counterpart_stays_as_it_is(httpx: Any) -> None:  # noqa: ANN401
    error = SandboxNotFound("gone")
    assert as_httpx(error) is error


def test_where_httpx_is_not_in_use_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "httpx", raising=False)
    error = GatewayUnreachable("no answer")
    assert as_httpx(error) is error


async def test_what_the_client_raises_can_be_caught_as_httpxs(httpx: Any) -> None:  # noqa: ANN401
    with pytest.raises(httpx.ConnectError) as caught:
        await Gateway(find_gateway(refused_url())).call(GET_CLUSTER, m.Empty())
    assert isinstance(caught.value, InternalServerRockError)
    with pytest.raises(httpx.ReadTimeout):
        from_observation(m.Observation(output="", timed_out=True), BashAction(command="sleep 9", timeout=1))
