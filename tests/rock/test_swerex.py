"""SWE-agent's deployment, in an environment that has swe-rex: our own never has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.gateways import start_gateway
from tests.published import published_python
from tests.rl_rock import run_sample

SDK = Path(__file__).parents[2] / "sdk"


@pytest.mark.slow
async def test_a_stock_client_of_swe_rex_works_in_a_sandbox(embedded: Cluster, tmp_path: Path) -> None:
    # swe-rex imports aiohttp without asking for it; the other two are what our client needs.
    python = published_python("swe-rex==1.4.0", "aiohttp", "msgspec")
    async with start_gateway(embedded) as gateway:
        status, said = await run_sample("swe_agent.py", gateway, folder=tmp_path, python=python, PYTHONPATH=str(SDK))
    assert status == 0, said
    assert said.endswith("played\n")
