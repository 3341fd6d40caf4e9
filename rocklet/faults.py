"""What went wrong in the rocklet itself, as an error of the wire."""

from __future__ import annotations

import errno
import logging
import resource

from rock.wire.errors import InternalError, LimitReached

__all__ = ["explain_fault", "find_exhaustion"]

log = logging.getLogger(__name__)


def explain_fault(fault: Exception, request_id: str) -> InternalError | LimitReached:
    """What a caller is told of an exception that nobody expected: the limit it comes from, or where the log has it."""
    exhausted = find_exhaustion(fault)
    if exhausted is not None:
        return exhausted
    log.error("request %s failed by a fault of ours", request_id, exc_info=fault)
    return InternalError(f"a fault inside the rocklet; its log has more under request id {request_id}")


def find_exhaustion(error: BaseException) -> LimitReached | None:
    """The limit that an error comes from, if the rocklet, or its machine, may have no more descriptors."""
    if not isinstance(error, OSError) or error.errno not in {errno.EMFILE, errno.ENFILE}:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return LimitReached(
        f"the rocklet has as many files open as it may ({limit}); close sessions or commands, or raise the nofile "
        "ulimit of the cluster's sandboxes",
        details={"limit": "nofile", "value": limit},
    )
