"""What the doctor says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

__all__ = ["Finding", "Verdict", "exit_code", "ok", "some", "unasked", "unfit", "warning"]


class Verdict(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    """Sandboxes run; something will surprise somebody."""
    UNFIT = "unfit"
    """Sandboxes of this profile cannot run."""
    UNASKED = "unasked"
    """Nobody answered."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    subject: str
    verdict: Verdict
    sentence: str
    remedy: str = ""
    """What to do about it, if anything."""


def ok(subject: str, sentence: str) -> Finding:
    """As it should be."""
    return Finding(subject=subject, verdict=Verdict.OK, sentence=sentence)


def warning(subject: str, sentence: str, remedy: str) -> Finding:
    """Not as it should be."""
    return Finding(subject=subject, verdict=Verdict.WARNING, sentence=sentence, remedy=remedy)


def unfit(subject: str, sentence: str, remedy: str) -> Finding:
    """No sandbox runs like this."""
    return Finding(subject=subject, verdict=Verdict.UNFIT, sentence=sentence, remedy=remedy)


def unasked(subject: str, sentence: str, remedy: str) -> Finding:
    """Nobody answered."""
    return Finding(subject=subject, verdict=Verdict.UNASKED, sentence=sentence, remedy=remedy)


def exit_code(findings: Iterable[Finding]) -> int:
    """0 fit, 1 unfit, 2 not everybody could be asked."""
    verdicts = {finding.verdict for finding in findings}
    return 2 if Verdict.UNASKED in verdicts else int(Verdict.UNFIT in verdicts)


def some(names: Sequence[str], most: int = 3) -> str:
    """Names in a sentence: the first few of many."""
    beyond = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + beyond
