"""Nomad's errors, in words of ours, in one place."""

from __future__ import annotations

import re

import requests

from rock.wire.errors import ClusterUnavailable, InternalError, InvalidRequest, RockException

__all__ = ["JobExists", "Refused", "translate", "unreachable"]


class JobExists(Exception):
    """A job of this id exists already, or not in the version that the caller had seen."""

    def __init__(self, job_id: str, said: str) -> None:
        super().__init__(f"job {job_id}: {said}")
        self.job_id = job_id


class Refused(Exception):
    """Nomad's answer was an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status, self.text = status, text


_VALIDATION = re.compile(r"\d+ errors? occurred: \*? ?")


def translate(status: int, said: str, url: str) -> RockException:
    """The error that means what Nomad said.  Source: the texts were seen on Nomad 2.0.5."""
    # Nomad's validation says "1 error occurred:" and a list.
    said, is_invalid = _VALIDATION.subn("", " ".join(said.split()))
    said = said[:500]
    if status == 403:
        return ClusterUnavailable(
            f"nomad at {url} refuses the gateway's token: {said}; see its ACL policy", details={"status": 403}
        )
    if "nonexistent node pool" in said:
        expected = "a node pool of this cluster"
        return InvalidRequest(
            f"node_pool does not exist: {said}; it must be {expected}",
            details={"field": "node_pool", "value": said, "expected": expected},
        )
    if "nonexistent namespace" in said:
        return ClusterUnavailable(f"nomad at {url} lacks the namespace of this cluster's profile: {said}")
    if status == 429 or (status >= 500 and not is_invalid):
        return ClusterUnavailable(f"nomad at {url} failed: {said}")
    return InternalError(f"nomad at {url} refuses what the gateway sent (HTTP {status}): {said}")


def unreachable(url: str, error: object) -> ClusterUnavailable:
    """The error that says that nobody answers, and why."""
    # requests wraps what happened in three texts, of which the last says it.
    why = str(error).rpartition(": ")[2].strip("\"')") if isinstance(error, requests.RequestException) else str(error)
    return ClusterUnavailable(f"nomad does not answer at {url}: {why or type(error).__name__}")
