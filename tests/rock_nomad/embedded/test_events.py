from __future__ import annotations

from rock_nomad.embedded.events import BUFFER_SIZE, SUBSCRIBER_BACKLOG, EventBuffer, Subscriber, Topics, stream_event

ANY = Topics.parse([])


def event(topic: str = "Allocation", index: int = 1, job: str = "j") -> dict[str, object]:
    return stream_event(topic, "PlanResult", {"ID": "x", "JobID": job}, index)


def drain(subscriber: Subscriber) -> list[int]:
    batches = [subscriber.batches.get_nowait() for _ in range(subscriber.batches.qsize())]
    return [batch[0] for batch in batches if batch]


def test_topics_choose_by_name_key_and_job() -> None:
    events = [event(), event("Job"), event("Allocation", job="other")]
    assert len(Topics.parse([]).select(events)) == 3
    assert len(Topics.parse(["Allocation"]).select(events)) == 2
    assert len(Topics.parse(["Allocation:j"]).select(events)) == 1
    assert len(Topics.parse(["Job:x", "Allocation:other"]).select(events)) == 2
    assert len(Topics.parse(["*"]).select(events)) == 3
    assert Topics.parse(["Node"]).select(events) == []


def test_a_reader_starts_at_its_index_or_at_the_closest() -> None:
    buffer = EventBuffer()
    for index in (3, 5, 9):
        buffer.publish(index, [event(index=index)])
    assert drain(buffer.subscribe(ANY, 0)) == [3, 5, 9]
    assert drain(buffer.subscribe(ANY, 4)) == [5, 9]
    assert drain(buffer.subscribe(ANY, 9)) == [9]
    assert drain(buffer.subscribe(ANY, 999)) == [9]


def test_the_buffer_forgets_the_oldest() -> None:
    buffer = EventBuffer()
    for index in range(BUFFER_SIZE + 5):
        buffer.publish(index, [event(index=index)])
    assert drain(buffer.subscribe(ANY, 0))[0] == 5


def test_a_slow_reader_is_cut_and_others_are_not() -> None:
    buffer = EventBuffer()
    slow, quick = buffer.subscribe(ANY, 0), buffer.subscribe(ANY, 0)
    for index in range(SUBSCRIBER_BACKLOG + 1):
        buffer.publish(index, [event(index=index)])
        if index % 100 == 0:
            drain(quick)
    assert (slow.is_cut, quick.is_cut) == (True, False)
    waiting = [slow.batches.get_nowait() for _ in range(slow.batches.qsize())]
    assert waiting[-1] is None


def test_closing_ends_every_reader_and_who_left_hears_nothing() -> None:
    buffer = EventBuffer()
    reader, gone = buffer.subscribe(ANY, 0), buffer.subscribe(ANY, 0)
    buffer.unsubscribe(gone)
    buffer.close()
    assert reader.batches.get_nowait() is None
    assert gone.batches.empty()
