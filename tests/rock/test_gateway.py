from __future__ import annotations

import copy
import pickle

import pytest

from rock._config import GatewayAddress
from rock._gateway import Gateway, new_request_id
from rock.wire import messages as m
from rock.wire.errors import GatewayUnreachable, IdInUse, OutcomeUnknown
from rock.wire.monitoring import ReadLogRequest
from rock.wire.operations import CREATE_SANDBOX, GET_SANDBOX, READ_LOG
from tests.rock.servers import Seen, WireServer, refused_url, running, serve


def at(server: WireServer | str, key: str | None = "secret", **headers: str) -> Gateway:
    url = server if isinstance(server, str) else server.url
    return Gateway(GatewayAddress(url=url, api_key=key), headers)


async def test_the_key_goes_as_a_bearer_token_beside_the_extra_headers() -> None:
    async with serve(WireServer(is_gateway=True)) as server:
        server.always(GET_SANDBOX, running())
        await at(server, **{"X-Team": "red"}).call(GET_SANDBOX, m.GetSandboxRequest(), sandbox_id="s1")
    assert server.seen[0].headers["Authorization"] == "Bearer secret"
    assert server.seen[0].headers["X-Team"] == "red"


async def test_a_key_in_the_extra_headers_wins() -> None:
    async with serve(WireServer(is_gateway=True, token=None)) as server:
        server.always(GET_SANDBOX, running())
        await at(server, **{"x-api-key": "mine"}).call(GET_SANDBOX, m.GetSandboxRequest(), sandbox_id="s1")
    assert "Authorization" not in server.seen[0].headers


async def test_a_lost_connection_is_answered_by_sending_again_with_the_same_id() -> None:
    async with serve(WireServer(is_gateway=True)) as server:

        @server.answer(CREATE_SANDBOX)
        async def _(seen: Seen) -> m.SandboxStatus:
            if len(server.seen) == 1:
                seen.cut()
            return running("made")

        status = await at(server).call(CREATE_SANDBOX, m.CreateSandboxRequest())
    assert status.sandbox_id == "made"
    assert len({seen.request_id for seen in server.seen}) == 1
    assert len(server.seen) == 2


async def test_a_call_that_is_lost_twice_has_an_unknown_outcome_unless_it_is_idempotent() -> None:
    async def cut(seen: Seen) -> m.SandboxStatus:
        seen.cut()
        return running()

    async with serve(WireServer(is_gateway=True)) as server:
        server.answers = {CREATE_SANDBOX.name: cut, GET_SANDBOX.name: cut}
        with pytest.raises(OutcomeUnknown) as caught:
            await at(server).call(CREATE_SANDBOX, m.CreateSandboxRequest())
        assert caught.value.details["executed"] == "unknown"
        with pytest.raises(GatewayUnreachable):
            await at(server).call(GET_SANDBOX, m.GetSandboxRequest(), sandbox_id="s1")


async def test_a_stream_that_is_cut_says_so() -> None:
    async with serve(WireServer(is_gateway=True)) as server:

        @server.answer(READ_LOG)
        async def _(seen: Seen) -> m.Empty:
            seen.cut()
            return m.Empty()

        with pytest.raises(GatewayUnreachable, match="was lost"):
            async with at(server).stream(READ_LOG, ReadLogRequest(follow=True), sandbox_id="s1"):
                pass


async def test_nothing_answering_names_the_address() -> None:
    url = refused_url()
    with pytest.raises(GatewayUnreachable, match=url):
        await at(url).call(CREATE_SANDBOX, m.CreateSandboxRequest())


async def test_an_error_is_not_tried_again() -> None:
    async with serve(WireServer(is_gateway=True)) as server:
        server.always(CREATE_SANDBOX, IdInUse("taken"))
        with pytest.raises(IdInUse):
            await at(server).call(CREATE_SANDBOX, m.CreateSandboxRequest())
    assert len(server.seen) == 1


def test_it_pickles_and_copies_and_does_not_show_its_key() -> None:
    gateway = at("http://gateway:1", "hidden")
    assert "hidden" not in repr(gateway)
    for twin in (pickle.loads(pickle.dumps(gateway)), copy.deepcopy(gateway)):
        assert twin.route == gateway.route


def test_request_ids_differ() -> None:
    assert new_request_id() != new_request_id()
