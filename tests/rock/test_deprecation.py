from __future__ import annotations

import pytest

from rock._deprecation import deprecated


@deprecated("Use that.")
def _this(word: str) -> str:
    return word


def test_whoever_calls_it_is_warned_and_served() -> None:
    with pytest.warns(DeprecationWarning, match=r"^_this is deprecated\. Use that\.$"):
        assert _this("done") == "done"
