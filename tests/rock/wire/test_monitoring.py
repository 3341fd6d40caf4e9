from __future__ import annotations

import pytest

from rock.wire.codec import decode, decode_query, encode_query
from rock.wire.errors import InvalidRequest
from rock.wire.monitoring import ReadLogRequest, Statistics


def test_a_log_is_asked_for_in_a_query() -> None:
    assert encode_query(ReadLogRequest()) == []
    asked = ReadLogRequest(stream="stdout", follow=True)
    assert decode_query(ReadLogRequest, encode_query(asked)) == asked
    with pytest.raises(InvalidRequest, match="stream"):
        decode_query(ReadLogRequest, [("stream", "stdin")])


def test_statistics_of_a_newer_rocklet_can_be_read() -> None:
    said = b'{"cpu_percent":1.5,"memory_percent":2,"disk_percent":3,"network_bytes":4,"newer":5}'
    assert decode(Statistics, said) == Statistics(
        cpu_percent=1.5, memory_percent=2.0, disk_percent=3.0, network_bytes=4
    )
