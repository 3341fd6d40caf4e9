"""Durations and times as Nomad writes them.  Pure."""

import re
import time

SECOND = 1_000_000_000
_DURATION_UNITS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND,
}  # fmt: skip
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration such as `1h2m3.5s`.

    Raises ValueError: not a duration.
    """
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        if text == "0":
            return 0
        raise ValueError(f"time: invalid duration {text!r}")
    return round(sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts))


def format_duration(nanoseconds: int) -> str:
    """A duration as Go's time.Duration prints it: `2s`, `1m30s`, `500ms`."""
    if nanoseconds < SECOND:
        if nanoseconds == 0:
            return "0s"
        for unit in ("ms", "us", "ns"):
            if nanoseconds >= _DURATION_UNITS[unit]:
                return f"{nanoseconds / _DURATION_UNITS[unit]:g}{'µs' if unit == 'us' else unit}"
    seconds = nanoseconds / SECOND
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours:.0f}h{minutes:.0f}m{text}"
    return f"{minutes:.0f}m{text}" if minutes else text


def format_time(nanoseconds: int) -> str:
    """A time since the epoch as RFC 3339 in UTC with nanoseconds, as Go prints it (no trailing zeros)."""
    seconds, fraction = divmod(nanoseconds, SECOND)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"
