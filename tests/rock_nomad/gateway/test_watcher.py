import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from rock.wire.errors import ClusterUnavailable
from rock_nomad.gateway.watcher import Watcher, is_change, job_of
from rock_nomad.nomad import Event, EventBatch

RECORDED = Path(__file__).parents[2] / "recordings" / "events.json"


def _recorded() -> list[Event]:
    batches = msgspec.convert(json.loads(RECORDED.read_text()), list[EventBatch])
    return [event for batch in batches for event in batch.events]


def test_every_recorded_event_says_whose_it_is() -> None:
    events = [event for event in _recorded() if event.topic in ("Job", "Allocation")]
    assert events
    assert all(job_of(event) for event in events)


def test_of_a_recorded_life_its_turns_are_changes_and_nomads_steps_are_not() -> None:
    told = {(event.topic, event.type): is_change(event) for event in _recorded()}
    assert told["Job", "JobRegistered"] is False
    assert told["Job", "JobDeregistered"] is True


def _allocation(status: str, desired: str = "run", job: str = "sbx-a") -> Event:
    payload = {"Allocation": {"JobID": job, "ClientStatus": status, "DesiredStatus": desired}}
    return Event(topic="Allocation", type="AllocationUpdated", payload=payload)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (_allocation("pending"), False),
        (_allocation("running"), True),
        (_allocation("failed"), True),
        (_allocation("pending", "stop"), True),
        (Event(topic="Allocation", payload={}), True),
        (Event(topic="Job", type="JobRegistered", key="sbx-a"), False),
        (Event(topic="Job", type="JobDeregistered", key="sbx-a"), True),
    ],
)
def test_a_change_is_what_makes_a_sandbox_worth_another_look(event: Event, expected: bool) -> None:
    assert is_change(event) is expected


class _Stream:
    """Nomad's event stream, as a script: batches, and errors that cut it."""

    def __init__(self, *script: Sequence[EventBatch | Exception]) -> None:
        self.script, self.opened = list(script), list[int]()

    async def events(self, topics: Sequence[str], *, index: int = 0) -> AsyncIterator[EventBatch]:
        self.opened.append(index)
        if not self.script:
            await asyncio.Event().wait()
        yield EventBatch()
        for each in self.script.pop(0):
            if isinstance(each, Exception):
                raise each
            yield each
        await asyncio.Event().wait()


async def test_a_waiter_hears_of_its_own_job_only() -> None:
    stream = _Stream([EventBatch(index=7, events=[_allocation("running", job="sbx-b")])])
    watcher = Watcher(stream)  # type: ignore[arg-type]  # a fake at the seam
    with watcher.subscribe("sbx-a") as mine, watcher.subscribe("sbx-b") as other:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(watcher.run())
            await mine.changed()  # the stream was opened: everybody looks once
            await other.changed()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await mine.changed()
            running.cancel()


async def test_a_stream_that_was_cut_tells_everybody_once() -> None:
    stream = _Stream([EventBatch(index=7), ClusterUnavailable("cut")], [])
    watcher = Watcher(stream, pause=0.001)  # type: ignore[arg-type]
    with watcher.subscribe("sbx-a") as news:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(watcher.run())
            await news.changed()
            await news.changed()
            running.cancel()
    assert len(stream.opened) == 2


async def test_a_placement_wakes_those_who_wait_for_room_and_nobody_else() -> None:
    watcher = Watcher(_Stream())  # type: ignore[arg-type]
    with watcher.subscribe("sbx-a") as news:
        watcher._pass_on(_allocation("pending"))
        await asyncio.wait_for(news.placed(), 1)
        watcher._pass_on(_allocation("pending"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(news.changed(), 0.01)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"DesiredStatus": "stop"}, []),
        ({"DesiredStatus": "stop", "DesiredTransition": {"Migrate": True, "MigrateDisablePlacement": True}}, []),
        ({"DesiredStatus": "stop", "DesiredTransition": {"Migrate": True}}, ["sbx-a"]),
        ({"DesiredStatus": "evict", "PreemptedByAllocation": "another"}, ["sbx-a"]),
    ],
    ids=["runs", "stopped", "drained", "moved", "preempted"],
)
def test_what_nomad_begins_anew_is_told_whether_or_not_anybody_waits(
    fields: dict[str, object], expected: list[str]
) -> None:
    watcher = Watcher(_Stream())  # type: ignore[arg-type]
    event = _allocation("running")
    event.payload["Allocation"].update(fields)
    watcher._pass_on(event)
    assert [watcher.replaced.get_nowait() for _ in range(watcher.replaced.qsize())] == expected


def test_nobody_is_kept_who_no_longer_waits() -> None:
    watcher = Watcher(_Stream())  # type: ignore[arg-type]
    with watcher.subscribe("sbx-a"), watcher.subscribe("sbx-a"):
        pass
    assert watcher._waiters == {}
