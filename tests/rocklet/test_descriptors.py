"""Descriptors on the event loop."""

from __future__ import annotations

import asyncio
import os

from rocklet.descriptors import Inlet, Outlet


async def test_bytes_come_out_in_order_until_the_end_of_the_file() -> None:
    reading, writing = os.pipe()
    heard: list[bytes] = []
    inlet = Inlet(reading, heard.append)
    os.write(writing, b"one ")
    os.write(writing, b"two")
    os.close(writing)
    await inlet.ended
    assert b"".join(heard) == b"one two"


async def test_a_drain_takes_what_is_there_and_waits_for_nothing() -> None:
    reading, writing = os.pipe()
    heard: list[bytes] = []
    inlet = Inlet(reading, heard.append)
    os.write(writing, b"x" * 60_000)
    inlet.drain()
    assert len(b"".join(heard)) == 60_000
    assert not inlet.ended.done()
    inlet.close()
    inlet.close()
    assert inlet.ended.done()
    os.close(writing)


async def test_what_does_not_fit_is_sent_as_soon_as_it_does_and_then_it_closes() -> None:
    reading, writing = os.pipe()
    outlet = Outlet(writing)
    data = os.urandom(1_000_000)
    outlet.send(data[:10])
    outlet.send(data[10:])
    outlet.close_when_sent()
    heard: list[bytes] = []
    await Inlet(reading, heard.append).ended
    assert b"".join(heard) == data


async def test_a_reader_that_is_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    outlet = Outlet(writing)
    outlet.send(b"x" * 200_000)
    os.close(reading)
    await asyncio.sleep(0)
    outlet.send(b"more")
    outlet.close()
    outlet.close()


async def test_whoever_waits_hears_when_all_is_taken_when_nobody_takes_it_and_when_called_off() -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    reading, writing = os.pipe()
    outlet = Outlet(writing)
    outlet.send(b"x" * 200_000)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(outlet.wait_sent(never))
        inlet = Inlet(reading, lambda data: None)
        await waiting
    inlet.close()
    outlet.close()

    reading, writing = os.pipe()
    outlet = Outlet(writing)
    outlet.send(b"x" * 200_000)
    called_off: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(outlet.wait_sent(called_off))
        asyncio.get_running_loop().call_soon(called_off.set_result, None)
        await waiting
        waiting = tasks.create_task(outlet.wait_sent(never))
        asyncio.get_running_loop().call_soon(outlet.close)
        await waiting
    os.close(reading)
