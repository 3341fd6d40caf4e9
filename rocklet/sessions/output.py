"""Output as it is collected: linear in its length, bounded in memory, exact where nothing was cut."""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import Callable, Sequence

from rock.wire.errors import InvalidRequest

__all__ = ["Expectation", "Output", "to_text"]


_MATCH_SPAN = 4096  # bytes that a match of a regular expression may span
_PIECE = 2**16  # bytes that are decoded at once: some milliseconds if none of them is text


async def to_text(data: bytes | bytearray) -> str:
    r"""Bytes as text: UTF-8, and `\xNN` for those that are none.  Large ones let others run in between."""
    if len(data) <= _PIECE:
        return data.decode("utf-8", "backslashreplace")
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    pieces = []
    for start in range(0, len(data), _PIECE):
        pieces.append(decoder.decode(data[start : start + _PIECE]))
        await asyncio.sleep(0)
    pieces.append(decoder.decode(b"", final=True))
    return "".join(pieces)


class Output:
    """The bytes that something printed; beyond the limit the middle is dropped and counted.

    `listener` is given all of them as they come.
    """

    def __init__(self, limit: int, listener: Callable[[bytes], None] | None = None) -> None:
        self._listener = listener
        self._head_size = limit // 2
        self._tail_size = limit - self._head_size
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def feed(self, data: bytes | bytearray) -> None:
        """Add what was printed next."""
        if self._listener is not None:
            self._listener(bytes(data))
        room = self._head_size - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > 2 * self._tail_size:
            self._trim()

    def _trim(self) -> None:
        excess = len(self._tail) - self._tail_size
        if excess > 0:
            del self._tail[:excess]
            self._dropped += excess

    def last(self, size: int) -> bytes:
        """So many bytes of its end, or fewer."""
        part = self._tail or self._head
        return bytes(part[max(len(part) - size, 0) :])

    @property
    def size(self) -> int:
        """How many bytes there are, those that were left out counted."""
        return len(self._head) + len(self._tail) + self._dropped

    @property
    def cut_bytes(self) -> int:
        """How many bytes were left out of the middle."""
        self._trim()
        return self._dropped

    def pour_into(self, other: Output) -> None:
        """Give another output what this one has kept, and the count of what it has not."""
        self._trim()
        other.feed(self._head)
        other.feed(self._tail)
        other._dropped += self._dropped

    def drop_last(self, ending: bytes) -> bool:
        """Take back an ending; False if it is not there."""
        part = self._tail or self._head
        if not part.endswith(ending):
            return False
        del part[-len(ending) :]
        return True

    @property
    def data(self) -> bytes:
        """What was kept, as bytes."""
        self._trim()
        return bytes(self._head + self._tail)

    async def text(self) -> str:
        """What was kept, as text."""
        self._trim()
        if not self._dropped:
            return await to_text(self._head + self._tail)
        return await to_text(self._head) + await to_text(self._tail)


class Expectation:
    """A watch for the first of several texts, or regular expressions, in a stream.

    Each byte is looked at once for texts; for expressions again as long as a match may reach back to it.
    Raises InvalidRequest: an expression is none.
    """

    def __init__(self, texts: Sequence[str], *, are_patterns: bool = False) -> None:
        self._patterns = [(_compile(text if are_patterns else re.escape(text)), text) for text in texts]
        self._overlap = _MATCH_SPAN if are_patterns else max(len(_encode(text)) for text in texts) - 1
        self._before = b""
        self.seen: str | None = None

    def feed(self, data: bytes) -> int | None:
        """Look at what came next: how much of it belongs to the match and what is before it, or None."""
        window = self._before + data
        found = [(match.end(), text) for pattern, text in self._patterns if (match := pattern.search(window))]
        if found:
            end, self.seen = min(found)
            return end - len(self._before)
        self._before = window[-self._overlap :] if self._overlap else b""
        return None


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _compile(pattern: str) -> re.Pattern[bytes]:
    try:
        return re.compile(_encode(pattern), re.DOTALL)
    except re.error as error:
        raise InvalidRequest(
            f"expect has {pattern!r}, which is no regular expression: {error}; mend it, or leave expect_patterns out",
            details={"field": "expect", "value": pattern, "expected": "regular expressions"},
        ) from error
