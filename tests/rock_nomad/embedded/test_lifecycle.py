from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock_nomad.embedded.lifecycle import (
    DirectoryBuilt,
    DriverSaid,
    Effect,
    Event,
    Exited,
    Life,
    MaxRunReached,
    Received,
    Started,
    StartFailed,
    StopRequested,
    advance,
)
from rock_nomad.embedded.units import SECOND
from tests.rock_nomad.embedded import recordings
from tests.rock_nomad.embedded.recordings import compare

NEW = Life(task="rocklet", kill_timeout=2 * SECOND)
STARTED: tuple[Event, ...] = (Received(), DirectoryBuilt(), Started())
DOWNLOADING = DriverSaid("Downloading image", {"image": "nosuch.invalid/x:1"})
NO_IMAGE = StartFailed(
    'Failed to pull `nosuch.invalid/x:1`: Error response from daemon: Get "https://nosuch.invalid/v2/": dial tcp: '
    "lookup nosuch.invalid on 127.0.0.53:53: no such host"
)
NO_COMMAND = StartFailed(
    'failed to launch command with executor: rpc error: code = Unknown desc = binary "/no/such" could not be found'
)


def live(*events: Event) -> tuple[Life, list[Effect]]:
    life, done = NEW, list[Effect]()
    for at, event in enumerate(events):
        life, effects = advance(life, event, 1_000 + at)
        done += effects
    return life, done


@pytest.mark.parametrize(
    ("recording", "events"),
    [
        ("alloc-stopped", (*STARTED, StopRequested(), Exited(0))),
        ("allocs-exit0", (*STARTED, Exited(0))),
        ("allocs-noimage", (Received(), DirectoryBuilt(), DOWNLOADING, NO_IMAGE)),
        ("allocs-exit3", (*STARTED, Exited(3))),
        ("allocs-maxrun", (*STARTED, MaxRunReached(), Exited(130, signal=2))),
        ("allocs-nocmd", (Received(), DirectoryBuilt(), NO_COMMAND)),
        ("allocs-oom", (*STARTED, Exited(137, oom_killed=True, message="OOM Killed"))),
    ],
)
def test_a_life_is_reported_as_recorded(recording: str, events: tuple[Event, ...]) -> None:
    recorded: dict[str, Any] = recordings.load(recording)[0]
    fields = live(*events)[0].client_fields()
    reported = ("ClientStatus", "ClientDescription", "TaskStates")
    assert compare({key: recorded[key] for key in reported}, {key: fields[key] for key in reported}) == []


def test_services_come_with_the_task_and_go_before_it_is_killed() -> None:
    _, effects = live(*STARTED, StopRequested(), Exited(0))
    assert effects == [
        Effect.REGISTER_GROUP_SERVICES, Effect.START, Effect.REGISTER_TASK_SERVICES, Effect.DEREGISTER_SERVICES,
        Effect.KILL, Effect.DEREGISTER_SERVICES,
    ]  # fmt: skip


def test_a_stop_before_the_start_starts_nothing() -> None:
    life, effects = live(Received(), StopRequested(), DirectoryBuilt())
    assert (life.status, life.is_over) == ("complete", True)
    assert Effect.START not in effects


def test_a_stop_during_the_start_kills_once_there_is_something_to_kill() -> None:
    life, effects = live(Received(), DirectoryBuilt(), StopRequested(), Started())
    assert effects[-1] is Effect.KILL
    assert Effect.REGISTER_TASK_SERVICES not in effects
    assert [event["Type"] for event in life.events] == ["Received", "Task Setup", "Killing", "Started"]


def test_a_second_stop_changes_nothing() -> None:
    once, _ = live(*STARTED, StopRequested())
    assert advance(once, StopRequested(), 2_000) == (once, ())
    assert advance(once, MaxRunReached(), 2_000)[1] == ()


EVENTS = st.sampled_from(
    [Received(), DirectoryBuilt(), Started(), NO_COMMAND, Exited(0), Exited(1), StopRequested(), MaxRunReached()]
)


@pytest.mark.slow
@given(st.lists(EVENTS, max_size=12))
def test_what_is_over_stays_as_it_is(events: list[Event]) -> None:
    life = NEW
    for at, event in enumerate(events):
        after, effects = advance(life, event, at)
        if life.is_over:
            assert (after, effects) == (life, ())
        if after.is_over:
            assert after.status in ("complete", "failed")
            assert after.finished_at is not None
        assert after.events[: len(life.events)] == life.events
        life = after
