"""What is followed, in frames: which stream the bytes came on, that all is over, that the sender is still there.

One encoding for every way to follow something: the body of a chunked reply, and the binary messages of a WebSocket.  A
frame is five bytes, its kind and the length of what follows (big-endian), and then so many bytes; neither a chunk nor a
message need end where a frame does.  Server-sent events are lines of text: output, which is bytes and cut anywhere,
would go through base64, a third longer, and two decoders; and a browser's EventSource cannot send a token.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

__all__ = ["FRAMES_TYPE", "HEADER_SIZE", "HEARTBEAT", "FrameDecoder", "FrameKind", "decode_header", "encode_frame"]

FRAMES_TYPE = "application/vnd.rock-nomad.frames"
"""The content type of a body of frames."""

_HEADER = struct.Struct(">BI")
HEADER_SIZE = _HEADER.size
"""Bytes."""


class FrameKind(IntEnum):
    """What a frame holds."""

    HEARTBEAT = 0
    """Nothing; the sender is there, and there was nothing to send."""
    STDOUT = 1
    STDERR = 2
    END = 3
    """There is no more; of a command, its `CommandStatus`.  What ends without it was cut off."""


def encode_frame(kind: FrameKind, payload: bytes = b"") -> bytes:
    """A frame."""
    return _HEADER.pack(kind, len(payload)) + payload


HEARTBEAT = encode_frame(FrameKind.HEARTBEAT)


def decode_header(data: bytes | bytearray, at: int = 0) -> tuple[FrameKind, int]:
    """The kind and the payload's length of the frame that begins there.

    Raises ValueError: none does.
    """
    kind, length = _HEADER.unpack_from(data, at)
    return FrameKind(kind), length


class FrameDecoder:
    """Frames out of pieces that were cut anywhere."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, piece: bytes) -> Iterator[tuple[FrameKind, bytes]]:
        """The frames that are whole by now.

        Raises ValueError: these are none.
        """
        self._pending += piece
        at = 0
        try:
            while len(self._pending) - at >= HEADER_SIZE:
                kind, length = decode_header(self._pending, at)
                end = at + HEADER_SIZE + length
                if end > len(self._pending):
                    return
                payload = bytes(self._pending[at + HEADER_SIZE : end])
                at = end
                yield kind, payload
        finally:
            del self._pending[:at]
