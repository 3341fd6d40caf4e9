from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import warnings
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from rock import _loops
from rock._loops import LoopState, of_running_loop
from rock.wire import messages as m
from rock.wire.operations import IS_ALIVE
from tests.rock.servers import WireServer, serve


async def _state() -> LoopState:
    return await of_running_loop()


async def test_one_loop_has_one_state() -> None:
    assert await of_running_loop() is await of_running_loop()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_the_session_is_closed_when_its_loop_ends(run: Callable[[Awaitable[LoopState]], LoopState]) -> None:
    first, second = run(_state()), run(_state())
    assert first is not second
    assert first.is_closed
    assert first.session.closed


def test_a_loop_that_ends_leaves_no_unclosed_connection() -> None:
    async def use() -> None:
        async with serve(WireServer(is_gateway=False)) as server:
            server.always(IS_ALIVE, m.RockletStatus(sandbox_id="s1"))
            state = await of_running_loop()
            async with state.session.get(f"{server.url}/is_alive", headers={"X-Request-ID": "r"}) as response:
                await response.read()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(use())
        gc.collect()
    assert [str(each.message) for each in caught] == []


def test_threads_do_not_share_a_state() -> None:
    states: list[LoopState] = []
    threads = [threading.Thread(target=lambda: states.append(asyncio.run(_state()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(state) for state in states}) == 8


async def test_the_same_work_is_done_once_at_a_time_and_its_failure_is_nobodys() -> None:
    state = await of_running_loop()
    done = asyncio.Event()

    async def work() -> None:
        await done.wait()
        raise ValueError("nobody asked")

    first = state.start("key", work)
    assert state.start("key", work) is first
    done.set()
    await asyncio.wait([first])
    again = state.start("key", work)
    assert again is not first
    await asyncio.wait([again])


def test_its_sockets_notice_a_peer_that_has_vanished() -> None:
    with _loops._open_socket((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 0))) as opened:
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15


def test_background_work_ends_with_its_loop() -> None:
    async def leave_behind() -> asyncio.Task[None]:
        return (await of_running_loop()).start("key", lambda: asyncio.sleep(3600))

    assert asyncio.run(leave_behind()).cancelled()


async def test_a_forked_child_does_not_use_its_parents_session(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = await of_running_loop()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    childs = await of_running_loop()
    assert childs is not parents
    await parents.session.close()
