"""ROCK's numeric codes, one a family.  Source: rl-rock 1.11, `rock/_codes.py`."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["codes"]


class codes(IntEnum):
    """ROCK's closed set of codes: 2000 OK, 4000 fix the call, 5000 retry, 6000 the command's own doing."""

    OK = 2000
    BAD_REQUEST = 4000
    INTERNAL_SERVER_ERROR = 5000
    COMMAND_ERROR = 6000

    ok = 2000
    bad_request = 4000
    internal_server_error = 5000
    command_error = 6000

    def __str__(self) -> str:
        return str(self.value)

    @property
    def phrase(self) -> str:
        """The code in words."""
        return "OK" if self is codes.OK else self.name.replace("_", " ").title()

    @classmethod
    def get_reason_phrase(cls, value: int) -> str:
        """The phrase of a code; empty for a number that is none."""
        try:
            return cls(value).phrase
        except ValueError:
            return ""

    @classmethod
    def is_success(cls, value: int) -> bool:
        """Whether it is in 2000-2999."""
        return value // 1000 == 2

    @classmethod
    def is_client_error(cls, value: int) -> bool:
        """Whether it is in 4000-4999."""
        return value // 1000 == 4

    @classmethod
    def is_server_error(cls, value: int) -> bool:
        """Whether it is in 5000-5999."""
        return value // 1000 == 5

    @classmethod
    def is_command_error(cls, value: int) -> bool:
        """Whether it is in 6000-6999."""
        return value // 1000 == 6

    @classmethod
    def is_error(cls, value: int) -> bool:
        """Whether it is in 4000-6999."""
        return 4 <= value // 1000 <= 6
