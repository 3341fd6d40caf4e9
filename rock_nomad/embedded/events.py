"""The event stream: a bounded buffer of what was applied, and its subscribers."""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from rock_nomad.embedded.rows import NAMESPACE, Row

BUFFER_SIZE = 10_000  # batches kept; a reader who asks for older ones silently starts at the oldest
SUBSCRIBER_BACKLOG = 2_000  # batches a reader may fall behind before it is cut


def stream_event(topic: str, kind: str, row: Row, index: int) -> Row:
    """One event of the stream, with the payload Nomad gives that topic."""
    filter_keys = [row["JobID"], ""] if topic in ("Evaluation", "Allocation") else None
    return {
        "Topic": topic, "Type": kind, "Key": row["ID"], "Namespace": "" if topic == "Node" else NAMESPACE,
        "FilterKeys": filter_keys, "Index": index, "Payload": {topic: row},
    }  # fmt: skip


@dataclass(frozen=True)
class Topics:
    """What a subscriber asked for: `Topic` or `Topic:key`, `*` for any.  None at all means everything."""

    wanted: frozenset[tuple[str, str]]

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Topics":
        """Topics as they stand in a query."""
        pairs = {(topic, key or "*") for topic, _, key in (text.partition(":") for text in texts)}
        return cls(frozenset(pairs or {("*", "*")}))

    def select(self, events: Iterable[Row]) -> list[Row]:
        """The events asked for."""
        return [event for event in events if self._is_wanted(event)]

    def _is_wanted(self, event: Row) -> bool:
        keys = ("*", event["Key"], *(event["FilterKeys"] or ()))
        return any((topic, key) in self.wanted for topic in ("*", event["Topic"]) for key in keys)


@dataclass(eq=False)
class Subscriber:
    """One reader of the stream; `batches` yields (index, events), and None once it was cut."""

    topics: Topics
    batches: asyncio.Queue[tuple[int, list[Row]] | None] = field(default_factory=asyncio.Queue)
    is_cut: bool = False

    def offer(self, index: int, events: list[Row]) -> None:
        """Queue what the reader asked for; cut it if it has fallen too far behind."""
        if self.is_cut or not (selected := self.topics.select(events)):
            return
        if self.batches.qsize() >= SUBSCRIBER_BACKLOG:
            self.is_cut = True
            self.batches.put_nowait(None)
            return
        self.batches.put_nowait((index, selected))


class EventBuffer:
    """What happened last, and who follows it."""

    def __init__(self) -> None:
        self._batches: deque[tuple[int, list[Row]]] = deque(maxlen=BUFFER_SIZE)
        self._subscribers: set[Subscriber] = set()

    def publish(self, index: int, events: list[Row]) -> None:
        """Keep a batch and hand it to the subscribers."""
        self._batches.append((index, events))
        for subscriber in self._subscribers:
            subscriber.offer(index, events)

    def subscribe(self, topics: Topics, index: int) -> Subscriber:
        """A reader that starts at `index`, or at the batch closest to it: the oldest or the newest there is."""
        subscriber = Subscriber(topics)
        newest = self._batches[-1][0] if self._batches else 0
        for number, events in self._batches:
            if number >= min(index, newest) and (selected := topics.select(events)):
                subscriber.batches.put_nowait((number, selected))
        self._subscribers.add(subscriber)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Forget a reader."""
        self._subscribers.discard(subscriber)

    def close(self) -> None:
        """End every reader's stream."""
        for subscriber in self._subscribers:
            subscriber.is_cut = True
            subscriber.batches.put_nowait(None)
