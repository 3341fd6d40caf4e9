from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from rock.wire.errors import ClusterUnavailable
from rock.wire.messages import State
from rock.wire.operations import STOP_SANDBOX
from rock_nomad.gateway.event_stream import EventStream
from rock_nomad.gateway.watcher import TOPICS, Watcher
from rock_nomad.loopback.settings import Settings
from rock_nomad.nomad import Event, EventBatch, Nomad
from tests.cluster import Cluster, run_real_cluster
from tests.gateways import Gateway, start_gateway
from tests.logs import hearing
from tests.rock.proxies import Relay, run_relay

CUTS = 20
CREATES = 40
MOCK: dict[str, Any] = {"cpus": 0.001, "memory_bytes": 16 * 2**20, "disk_bytes": 2**20, "isolation": "mock"}


class _Nomad:
    """Nomad's event stream, as a script: indexes of batches, and None for a cut; it says from where it was asked."""

    def __init__(self, *script: Sequence[int | None]) -> None:
        self.script, self.opened = list(script), list[int]()

    async def events(self, topics: Sequence[str], *, index: int = 0) -> AsyncIterator[EventBatch]:
        self.opened.append(index)
        yield EventBatch()
        for each in self.script.pop(0) if self.script else ():
            if each is None:
                raise ClusterUnavailable("cut")
            yield EventBatch(index=each, events=[Event(topic="Job")] if each else [])
        await asyncio.Event().wait()


async def _follow(nomad: _Nomad, count: int) -> tuple[EventStream, list[int | None]]:
    """The first so many things that a stream yields: indexes, or None where it was opened."""
    stream = EventStream(nomad, TOPICS, pause=0.001)  # type: ignore[arg-type]  # a fake at the seam
    seen: list[int | None] = []
    async with contextlib.aclosing(stream.follow()) as batches, asyncio.timeout(60):
        async for batch in batches:
            seen.append(None if batch is None else batch.index)
            if len(seen) == count:
                break
    return stream, seen


async def test_it_goes_on_where_it_was_cut_and_says_each_batch_once() -> None:
    nomad = _Nomad([3, 0, 7, None], [7, 9])
    stream, seen = await _follow(nomad, 5)
    assert (nomad.opened, seen, stream.gaps) == ([0, 7], [None, 3, 7, None, 9], 0)


async def test_what_nomad_has_dropped_meanwhile_is_a_gap(caplog: pytest.LogCaptureFixture) -> None:
    stream, seen = await _follow(_Nomad([7, None], [0, 12, 13]), 5)
    assert (seen, stream.gaps) == ([None, 7, None, 12, 13], 1)
    assert "between index 7 and 12" in caplog.text


def _transitions(batch: EventBatch, prefix: str) -> Iterator[tuple[object, ...]]:
    for event in batch.events:
        row = event.payload.get("Allocation") or {}
        if event.topic == "Allocation" and str(row.get("JobID")).startswith(prefix):
            yield event.key, row["ModifyIndex"], event.index, event.type, row["ClientStatus"], row["DesiredStatus"]


async def _live(gateway: Gateway, name: str) -> None:
    """One sandbox's life."""
    created = await gateway.create(name, **MOCK)
    assert created.state is State.RUNNING
    await gateway.call(STOP_SANDBOX, sandbox_id=name)


@pytest.mark.slow
async def test_a_stream_that_is_cut_twenty_times_under_load_misses_no_transition(
    cluster: Cluster, gateway: Gateway
) -> None:
    prefix = f"t{secrets.token_hex(4)}"
    whole: set[tuple[object, ...]] = set()
    pieced: list[tuple[object, ...]] = []
    told = asyncio.Event()

    async def watch_whole(nomad: Nomad) -> None:
        async for batch in nomad.events(TOPICS):
            whole.update(_transitions(batch, f"sbx-{prefix}"))
            told.set()

    async def watch_pieces(stream: EventStream, relay: Relay) -> None:
        async for batch in stream.follow():
            if batch is None:
                continue
            news = list(_transitions(batch, f"sbx-{prefix}"))
            pieced.extend(news)
            told.set()
            if news and relay.lost < CUTS:
                relay.cut()

    async with run_relay(cluster.nomad_url) as relay:
        through = cluster.nomad_config().model_copy(update={"url": relay.url})
        async with Nomad(cluster.nomad_config()) as straight, Nomad(through) as cut, asyncio.TaskGroup() as tasks:
            stream = EventStream(cut, TOPICS, pause=0.01)
            watching = [
                tasks.create_task(watch_whole(straight)),
                tasks.create_task(watch_pieces(stream, relay)),
            ]
            async with asyncio.timeout(200):
                await asyncio.gather(*(_live(gateway, f"{prefix}-{number}") for number in range(CREATES)))
                while relay.lost < CUTS or set(pieced) != whole or not _are_over(whole):
                    told.clear()
                    await told.wait()
            for each in watching:
                each.cancel()
    assert (relay.lost, stream.gaps) == (CUTS, 0)
    assert len(pieced) == len(whole)


def _are_over(transitions: set[tuple[object, ...]]) -> bool:
    """Whether the end of every life has been told."""
    return len({key for key, *_rest, status, _desired in transitions if status == "complete"}) == CREATES


@pytest.mark.slow
@pytest.mark.needs("a small event buffer")
async def test_where_nomad_has_dropped_events_whoever_waits_looks_again() -> None:
    with run_real_cluster(Settings(server={"event_buffer_size": 4})) as cluster:
        async with start_gateway(cluster) as gateway, run_relay(cluster.nomad_url) as relay:
            created = await gateway.create(**MOCK)
            through = cluster.nomad_config().model_copy(update={"url": relay.url})
            async with Nomad(through) as nomad, asyncio.timeout(120):
                watcher = Watcher(nomad, pause=0.01)
                with (
                    watcher.subscribe(f"sbx-{created.sandbox_id}") as news,
                    watcher.subscribe("sbx-other") as others,
                    hearing("rock_nomad.gateway.event_stream", "nomad has dropped events") as has_dropped,
                ):
                    async with asyncio.TaskGroup() as tasks:
                        watching = tasks.create_task(watcher.run())
                        await news.changed()
                        await others.changed()
                        await gateway.create("other", **MOCK)
                        await others.changed()  # so the stream has been read to some index
                        relay.down = True
                        relay.cut()
                        await gateway.call(STOP_SANDBOX, sandbox_id=created.sandbox_id)
                        for _ in range(5):
                            await gateway.create(**MOCK, hold=0)
                        relay.down = False
                        await news.changed()  # though Nomad no longer has the events that say so
                        await has_dropped.wait()
                        watching.cancel()
