from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from rock_nomad.embedded.catalog import Catalog, Check, Instance
from rock_nomad.embedded.checks import CheckPoller


@pytest.mark.parametrize(
    ("status", "expected"), [(200, "passing"), (204, "passing"), (301, "critical"), (429, "warning"), (500, "critical")]
)
async def test_a_checks_status_follows_the_reply(status: int, expected: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text="" if status == 204 else "said")

    application = web.Application()
    application.router.add_get("/alive", answer)
    async with TestServer(application) as server:
        catalog, instance = await poll_once(str(server.make_url("/alive")), initial="unknown")
    (row,) = catalog.health(instance.name, passing=False)
    assert row["Checks"][1]["Status"] == expected
    assert f"{status}" in row["Checks"][1]["Output"]


async def test_nobody_there_is_critical() -> None:
    catalog, instance = await poll_once("http://127.0.0.1:1/", initial="passing")
    assert catalog.health(instance.name, passing=False)[0]["Checks"][1]["Status"] == "critical"


async def poll_once(url: str, *, initial: str) -> tuple[Catalog, Instance]:
    """A catalog whose one check has been polled until its status changed."""
    catalog = Catalog("id", "vm")
    check = Check("c", "alive", url, interval=0.001, timeout=5, status=initial)
    instance = Instance("i", "svc", "127.0.0.1", 1, checks=(check,))
    catalog.register(instance)
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        with contextlib.suppress(asyncio.CancelledError):
            async with asyncio.TaskGroup() as tasks:
                changed = tasks.create_task(catalog.watches.wait(("service", "svc")))
                polling = tasks.create_task(CheckPoller(catalog, session).poll(instance))
                await changed
                polling.cancel()
    return catalog, instance
