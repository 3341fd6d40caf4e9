"""Nomad's errors, in words of ours, in one place."""

from __future__ import annotations

import re

from rock.wire.errors import ClusterUnavailable, InternalError, InvalidRequest, RockException
from rock_nomad.agents import describe_failure
from rock_nomad.config import NomadConfig

__all__ = ["JobExists", "Refused", "translate", "unreachable"]


class JobExists(Exception):
    """A job of this id exists already, or not in the version that the caller had seen."""

    def __init__(self, job_id: str, said: str) -> None:
        super().__init__(f"job {job_id}: {said}")
        self.job_id = job_id


class Refused(Exception):
    """Nomad's answer was an error."""

    def __init__(self, status: int, text: str, call: str = "") -> None:
        super().__init__(f"{status}: {text}")
        self.status, self.text, self.call = status, text, call


_VALIDATION = re.compile(r"\d+ errors? occurred: \*? ?")


_RIGHTS = (
    ("GET agent/", "agent read"),
    ("GET (nodes|node/|client/stats)", "node read"),
    ("GET operator/", "operator read"),
    ("GET jobs", "list-jobs"),
    ("GET client/fs/logs", "read-logs"),
    ("(GET|PUT|DELETE) vars?", "variables at nomad/jobs/sbx-*"),
    ("GET ", "read-job"),
    ("POST (job/[^/]+/plan|validate)", "plan-job"),
    ("POST job/", "register-job"),
    ("DELETE job/.*purge", "purge-job"),
    ("DELETE job/", "deregister-job"),
)
"""What a call must be granted; the first that fits.  Nomad itself does not say."""


def translate(refused: Refused, url: str) -> RockException:
    """The error that means what Nomad said.  Source: the texts were seen on Nomad 2.0.5."""
    status, said = refused.status, refused.text
    # Nomad's validation says "1 error occurred:" and a list.
    said, is_invalid = _VALIDATION.subn("", " ".join(said.split()))
    said = said[:500]
    if status == 403:
        return _forbidden(said, url, refused.call)
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


def _forbidden(said: str, url: str, call: str) -> ClusterUnavailable:
    right = next((right for pattern, right in _RIGHTS if re.match(pattern, call)), "what the gateway does")
    # Nomad says the same of a token that lacks a right and of one that it does not know, or no more.
    remedy = f"grant it {right}, as jobspecs/acl-nomad.hcl does, or give the gateway one that has not expired"
    details = {"status": 403, "right": right}
    return ClusterUnavailable(f"nomad at {url} refuses the gateway's token: {said}; {remedy}", details=details)


def unreachable(config: NomadConfig, error: object) -> ClusterUnavailable:
    """The error that says that nobody answers, and why."""
    return ClusterUnavailable(f"nomad does not answer at {config.url}: {describe_failure(error, config)}")
