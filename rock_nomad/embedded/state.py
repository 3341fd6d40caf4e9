"""Jobs, evaluations, allocations and the node: one index, events and watchers for every change.  No I/O."""

import time
from collections import Counter
from collections.abc import Hashable, Iterable

from rock_nomad.embedded.events import EventBuffer, stream_event
from rock_nomad.embedded.rows import NAMESPACE, Row, job_summary
from rock_nomad.embedded.watches import Watches

Change = tuple[str, Row]  # (topic, row without the indexes that applying it sets)

_SUMMARY_NAMES = {
    "pending": "Starting", "running": "Running", "complete": "Complete", "failed": "Failed", "lost": "Lost",
    "unknown": "Unknown",
}  # fmt: skip
_TABLES = {"Job": "jobs", "Evaluation": "evals", "Allocation": "allocs", "Node": "nodes"}
_LIVE_EVALUATIONS = ("pending", "blocked")


def now() -> int:
    """Nanoseconds since the epoch."""
    return time.time_ns()


class State:
    """Everything the Nomad side knows.  Rows are replaced, never changed in place."""

    def __init__(self, node: Row) -> None:
        self.index = 1
        self.jobs: dict[str, Row] = {}
        self.evaluations: dict[str, Row] = {}
        self.allocations: dict[str, Row] = {}
        self.variables: dict[str, Row] = {}  # by path
        self.allocation_jobs: dict[str, Row] = {}  # the job as it stood when the allocation was placed
        self.events = EventBuffer()
        self.watches = Watches()
        self._job_evaluations: dict[str, dict[str, None]] = {}  # insertion-ordered sets of ids
        self._job_allocations: dict[str, dict[str, None]] = {}
        self._modified: dict[Hashable, int] = {}
        self.node = node
        self.apply("NodeRegistration", [("Node", node)])

    def apply(self, kind: str, changes: Iterable[Change], *, settle: Iterable[str] = ()) -> int:
        """Make changes under one new index, publish them as events of that kind, wake the watchers.

        `settle` names the jobs whose status the changes may have moved.
        """
        self.index += 1
        stored = [(topic, self._store(topic, change)) for topic, change in changes]
        settled = [job for job_id in settle if (job := self._settled(job_id)) is not None]
        stored += [("Job", self._store("Job", job)) for job in settled]
        events, touched = [], set[Hashable]()
        for topic, row in stored:
            events.append(stream_event(topic, kind, row, self.index))
            touched |= self._keys(topic, row)
        self._touch(touched)
        self.events.publish(self.index, events)
        return self.index

    def announce(self, address: str) -> None:
        """Say where the node answers, once that is known."""
        attributes = {**self.node["Attributes"], "unique.advertise.address": address}
        self.node = {**self.node, "HTTPAddr": address, "Attributes": attributes}

    def modified(self, key: Hashable) -> int:
        """The index at which what the key names last changed; tables are named by a string."""
        return self._modified.get(key, 1)

    def allocations_of(self, job_id: str) -> list[Row]:
        """The allocations of a job, oldest first."""
        return [self.allocations[one] for one in self._job_allocations.get(job_id, ())]

    def evaluations_of(self, job_id: str) -> list[Row]:
        """The evaluations of a job, oldest first."""
        return [self.evaluations[one] for one in self._job_evaluations.get(job_id, ())]

    def summary(self, job: Row) -> Row:
        """How many members of a job are in which state."""
        allocations = self.allocations_of(job["ID"])
        counts = Counter(_SUMMARY_NAMES[one["ClientStatus"]] for one in allocations)
        for evaluation in reversed(self.evaluations_of(job["ID"])):
            if evaluation["Status"] in ("complete", "blocked") and "QueuedAllocations" in evaluation:
                counts["Queued"] = sum(evaluation["QueuedAllocations"].values())
                break
        newest = max((one["ModifyIndex"] for one in allocations), default=job["ModifyIndex"])
        return job_summary(job, max(newest, job["ModifyIndex"]), counts)

    def job_status(self, job: Row) -> str:
        """A job's status, from what it has.  Source: nomad/state getJobStatus."""
        allocations = self.allocations_of(job["ID"])
        if any(not is_terminal(one) for one in allocations):
            return "running"
        evaluations = self.evaluations_of(job["ID"])
        if any(one["Status"] in _LIVE_EVALUATIONS for one in evaluations):
            return "pending"
        return "dead" if job["Stop"] or evaluations or allocations else "pending"

    def purge_job(self, job_id: str) -> None:
        """Forget a job; its allocations can still be read by id."""
        del self.jobs[job_id]
        self._job_allocations.pop(job_id, None)
        self._job_evaluations.pop(job_id, None)
        self._touch({"jobs", ("job", job_id), ("allocs", job_id), ("evals", job_id)})

    def put_variable(self, path: str, items: Row, cas: int | None) -> Row | None:
        """Write a variable, if it is still at the index `cas` (0: there is none); None: it is not."""
        existing = self.variables.get(path)
        if cas is not None and cas != (existing["ModifyIndex"] if existing else 0):
            return None
        self.index += 1
        at, created = now(), existing or {"CreateIndex": self.index, "CreateTime": now()}
        self.variables[path] = {
            "CreateIndex": created["CreateIndex"], "CreateTime": created["CreateTime"], "Items": items,
            "ModifyIndex": self.index, "ModifyTime": at, "Namespace": NAMESPACE, "Path": path,
        }  # fmt: skip
        return self.variables[path]

    def _settled(self, job_id: str) -> Row | None:
        """The job with its status brought up to date; None: it is."""
        job = self.jobs.get(job_id)
        if job is None or (status := self.job_status(job)) == job["Status"]:
            return None
        return {**job, "Status": status}

    def _store(self, topic: str, change: Row) -> Row:
        # What its client reports of allocations does not count as a change of the node.
        modified = self.index if topic != "Node" else change.get("ModifyIndex", self.index)
        row = {**change, "ModifyIndex": modified}
        row.setdefault("CreateIndex", self.index)
        match topic:
            case "Job":
                row.setdefault("JobModifyIndex", self.index)
                self.jobs[row["ID"]] = row
            case "Evaluation":
                row.setdefault("JobModifyIndex", self.index)
                self.evaluations[row["ID"]] = row
                self._job_evaluations.setdefault(row["JobID"], {})[row["ID"]] = None
            case "Allocation":
                row.setdefault("AllocModifyIndex", self.index)
                self.allocations[row["ID"]] = row
                self._job_allocations.setdefault(row["JobID"], {})[row["ID"]] = None
            case "Node":
                self.node = row
        return row

    def _keys(self, topic: str, row: Row) -> set[Hashable]:
        table = _TABLES[topic]
        keys: set[Hashable] = {table, (table.removesuffix("s"), row["ID"])}
        if topic in ("Evaluation", "Allocation"):
            keys.add((table, row["JobID"]))
        return keys

    def _touch(self, keys: set[Hashable]) -> None:
        self._modified |= dict.fromkeys(keys, self.index)
        self.watches.wake(keys)


def is_terminal(allocation: Row) -> bool:
    """Whether the servers count an allocation as ended: told to stop, or ended by itself."""
    return allocation["DesiredStatus"] == "stop" or is_over(allocation)


def is_over(allocation: Row) -> bool:
    """Whether an allocation's client reported its end."""
    return allocation["ClientStatus"] in ("complete", "failed", "lost")
