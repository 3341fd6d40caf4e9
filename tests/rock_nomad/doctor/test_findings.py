from __future__ import annotations

import pytest

from rock_nomad.doctor.findings import Finding, exit_code, ok, some, unasked, unfit, warning

GOOD, ODD, BAD = ok("a", "is well"), warning("b", "is odd", "look"), unfit("c", "is broken", "mend it")
SILENT = unasked("d", "is silent", "start it")


@pytest.mark.parametrize(
    ("findings", "code"),
    [([], 0), ([GOOD], 0), ([GOOD, ODD], 0), ([ODD, BAD], 1), ([BAD, SILENT], 2)],
)
def test_the_exit_code_is_that_of_the_worst(findings: list[Finding], code: int) -> None:
    assert exit_code(findings) == code


def test_many_names_are_cut_short() -> None:
    assert some(["a"]) == "a"
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
