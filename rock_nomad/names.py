"""Sandbox id, Nomad job id, Consul service name: one function each way.

A sandbox `x` is the job `sbx-x` and the service `rocklet-x`; member n of a group is `x.n`, its job is the group's and
its service `rocklet-x--n`.  Ids hold no `--`, so no two sandboxes share a service, and no service is anybody else's.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets

from rock.wire.errors import InvalidRequest
from rock.wire.spec import ID_PATTERN

__all__ = [
    "JOB_PREFIX",
    "SERVICE_PREFIX",
    "check_sandbox_id",
    "group_and_index",
    "job_id",
    "new_sandbox_id",
    "sandbox_id_for_key",
    "sandbox_id_of",
    "sandbox_id_of_variable",
    "service_name",
    "variable_path",
]

JOB_PREFIX = "sbx-"
SERVICE_PREFIX = "rocklet-"
_VARIABLE_PREFIX = f"nomad/jobs/{JOB_PREFIX}"  # where a job's own identity may read

_ID = re.compile(ID_PATTERN)
_RANDOM_BYTES = 10  # 80 bits, 16 characters: a clash among a billion ids has a chance of one in two million
_KEYED_BYTES = 20  # 160 of SHA-256's bits, 32 characters, so that the id stays below its 48


def check_sandbox_id(sandbox_id: str) -> str:
    """The id itself.

    Raises InvalidRequest: it has not the shape of an id.
    """
    if _ID.match(sandbox_id) is None:
        shown = repr(sandbox_id[:80])
        expected = "1 to 48 of a-z, 0-9 and single dashes inside, such as swe-run-7"
        raise InvalidRequest(
            f"sandbox_id is {shown}; it must be {expected}",
            details={"field": "sandbox_id", "value": shown, "expected": expected},
        )
    return sandbox_id


def group_and_index(sandbox_id: str) -> tuple[str, int | None]:
    """The id of the job's sandbox or group, and which member this is: None for a sandbox on its own."""
    group, dot, index = check_sandbox_id(sandbox_id).partition(".")
    return group, int(index) if dot else None


def job_id(sandbox_id: str) -> str:
    """The Nomad job that runs this sandbox."""
    return JOB_PREFIX + group_and_index(sandbox_id)[0]


def service_name(sandbox_id: str) -> str:
    """The Consul service under which this sandbox's rocklet is found; a DNS label."""
    group, index = group_and_index(sandbox_id)
    return f"{SERVICE_PREFIX}{group}" if index is None else f"{SERVICE_PREFIX}{group}--{index}"


def sandbox_id_of(job_id: str, index: int | None = None) -> str | None:
    """The sandbox that a Nomad job runs, or the member `index` of its group; None if the job is no sandbox's."""
    if not job_id.startswith(JOB_PREFIX):
        return None
    group = job_id.removeprefix(JOB_PREFIX)
    sandbox_id = group if index is None else f"{group}.{index}"
    return sandbox_id if "." not in group and _ID.match(sandbox_id) else None


def new_sandbox_id() -> str:
    """An id that nobody has had."""
    return _base32(secrets.token_bytes(_RANDOM_BYTES))


def sandbox_id_for_key(tenant: str, idempotency_key: str) -> str:
    """The id for a tenant's idempotency key, so that replicas agree on it without a store."""
    # The length keeps ("ab", "c") and ("a", "bc") apart.
    digest = hashlib.sha256(f"{len(tenant)}:{tenant}{idempotency_key}".encode("utf-8", "surrogatepass")).digest()
    return _base32(digest[:_KEYED_BYTES])


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().lower()


def variable_path(sandbox_id: str = "") -> str:
    """The path of the Nomad variable that a sandbox's node may read; without an id, how all of them begin."""
    return f"nomad/jobs/{job_id(sandbox_id)}" if sandbox_id else _VARIABLE_PREFIX


def sandbox_id_of_variable(path: str) -> str | None:
    """The sandbox whose node may read a variable, or None."""
    return sandbox_id_of(path.removeprefix("nomad/jobs/")) if path.startswith(_VARIABLE_PREFIX) else None
