"""HTTP checks of services, really polled."""

import asyncio
import random
from dataclasses import dataclass

import aiohttp

from rock_nomad.embedded.catalog import Catalog, Check, Instance

_OUTPUT_BYTES = 4096


@dataclass(frozen=True)
class CheckPoller:
    """Polls the checks of instances and reports to the catalog."""

    catalog: Catalog
    session: aiohttp.ClientSession

    async def poll(self, instance: Instance) -> None:
        """Poll every check of an instance until cancelled."""
        async with asyncio.TaskGroup() as polls:
            for check in instance.checks:
                polls.create_task(self._poll_one(instance, check), name=f"check {check.check_id}")

    async def _poll_one(self, instance: Instance, check: Check) -> None:
        # As Consul: a random part of the interval first, so that many checks do not fall on one moment.
        await asyncio.sleep(random.random() * check.interval)  # noqa: S311 - spreads load
        while True:
            status, output = await self._ask(check)
            self.catalog.report_check(instance, check.check_id, status, output)
            await asyncio.sleep(check.interval)

    async def _ask(self, check: Check) -> tuple[str, str]:
        try:
            async with (
                asyncio.timeout(check.timeout),
                self.session.get(check.url, allow_redirects=False) as reply,
            ):
                body = (await reply.content.read(_OUTPUT_BYTES)).decode(errors="replace")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return "critical", f'Get "{check.url}": {error}'
        text = f"HTTP GET {check.url}: {reply.status} {reply.reason} Output: {body}"
        if reply.status == 429:
            return "warning", text
        return "passing" if 200 <= reply.status < 300 else "critical", text
