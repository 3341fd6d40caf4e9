from __future__ import annotations

from rock_nomad.embedded.differences import DIFFERENCES, fields_not_compared
from tests.rock_nomad.embedded import recordings


def test_every_difference_says_both_sides_and_is_listed_once() -> None:
    subjects = [one.subject for one in DIFFERENCES]
    assert len(subjects) == len(set(subjects))
    assert all(one.real and one.embedded for one in DIFFERENCES)


def test_what_is_not_compared_stands_in_its_recording() -> None:
    for one in DIFFERENCES:
        if one.recording:
            recorded = recordings.load(one.recording)
            row = recorded[0] if isinstance(recorded, list) else recorded
            assert one.fields <= row.keys()
            assert one.fields <= fields_not_compared(one.recording)
    assert fields_not_compared("job-running") == frozenset()
