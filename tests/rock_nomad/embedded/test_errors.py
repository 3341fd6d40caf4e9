from __future__ import annotations

from rock_nomad.embedded.errors import Refused, Unsupported


def test_what_is_not_imitated_is_501_and_names_the_agent() -> None:
    refusal = Unsupported("jobs of type service")
    assert isinstance(refusal, Refused)
    assert (refusal.status, refusal.text) == (501, "rock-nomad-embedded does not imitate jobs of type service")
