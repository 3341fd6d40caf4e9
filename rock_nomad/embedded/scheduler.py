"""Registrations, deregistrations and what waits for room: evaluations, plans and blocked evaluations.

Source of the order of changes and of their fields: the recorded event stream of Nomad 2.0.5.
"""

import uuid
from collections.abc import Callable
from typing import Any

from rock_nomad.embedded.errors import Refused, Unsupported
from rock_nomad.embedded.jobs import multierror, problems
from rock_nomad.embedded.placement import Placement, Refusal, Request, Usage, place
from rock_nomad.embedded.rows import NAMESPACE, NODE_POOL, Row, placement_metrics, plan_annotations, resources
from rock_nomad.embedded.state import State, is_terminal, now

_ALLOCATION_STOPPED = "alloc not needed due to job update"
_BLOCKED_TEXT = "created to place remaining allocations"
# What a job may not ask of this agent, though Nomad would grant it.
_NO_JOB_KEYS = ("Periodic", "ParameterizedJob", "Multiregion", "Payload")
_NO_GROUP_KEYS = ("Scaling", "Consul")
_NO_TASK_KEYS = ("Templates", "Artifacts", "Vault", "Lifecycle", "DispatchPayload")


class Scheduler:
    """Decides what lives on the one node.  `on_placed` and `on_stopped` tell its client."""

    def __init__(self, state: State, is_bindable: Callable[[int], bool]) -> None:
        self.state = state
        self.usage = Usage()
        self.on_placed: Callable[[str, Placement], None] = lambda _id, _placement: None
        self.on_stopped: Callable[[str], None] = lambda _id: None
        self._is_bindable = is_bindable
        self._placements: dict[str, Placement] = {}  # by allocation id, until its client reports the end
        self._blocked: dict[str, None] = {}  # evaluation ids, oldest first

    def register(self, job: Row, *, enforce_index: bool, job_modify_index: int) -> Row:
        """Register a canonical job and place what fits; returns the evaluation as created.

        Raises Refused: in Nomad's words.
        """
        self._check(job)
        existing = self.state.jobs.get(job["ID"])
        _check_index(existing, enforce_index=enforce_index, given=job_modify_index)
        if existing and not existing["Stop"]:
            raise Unsupported("changing a job that has not been stopped")
        row = {**job, "Stop": False, "SubmitTime": now(), "Status": "pending", "Version": 0}
        if existing:
            row |= {"Version": existing["Version"] + 1, "CreateIndex": existing["CreateIndex"]}
        evaluation = _new_evaluation(row, "job-register")
        self.state.apply("JobRegistered", [("Job", row), ("Evaluation", evaluation)])
        created = self.state.evaluations[evaluation["ID"]]
        self._evaluate(created)
        return created

    def deregister(self, job_id: str, *, purge: bool) -> Row | None:
        """Stop a job, whatever its state; returns the evaluation as created, None for an unknown job."""
        existing = self.state.jobs.get(job_id)
        if existing is None:
            return None
        changed = {key: value for key, value in existing.items() if key != "JobModifyIndex"}
        changed |= {"Stop": True, "Version": existing["Version"] + 1, "SubmitTime": now()}
        evaluation = _new_evaluation(changed, "job-deregister") | {"Type": "service"}
        self.state.apply("JobDeregistered", [("Job", changed), ("Evaluation", evaluation)])
        created = self.state.evaluations[evaluation["ID"]]
        self._stop_all(self.state.jobs[job_id], created)
        if purge:
            self.state.purge_job(job_id)
        return created

    def plan(self, job: Row) -> Row:
        """What registering a canonical job would do now; changes nothing.

        Raises Refused: in Nomad's words.
        """
        self._check(job)
        existing = self.state.jobs.get(job["ID"])
        group, request = job["TaskGroups"][0], Request.from_job(job)
        if existing and not existing["Stop"]:
            wanted, updates = 0, {"Ignore": group["Count"]}
        else:
            wanted, updates = group["Count"], {"Place": group["Count"]}
        placements, refusal = self._try(request, wanted)
        for placement in placements:
            self.usage.release(placement)
        failed, created = None, None
        if refusal is not None:
            failed = {group["Name"]: refusal.metrics(wanted - len(placements) - 1)}
            blocked = self._blocked_evaluation(_new_evaluation(job, "job-register"), failed, refusal)
            created = [{key: value for key, value in blocked.items() if key not in ("SnapshotIndex", "JobModifyIndex")}]
        return {
            "Annotations": plan_annotations(group["Name"], **updates), "CreatedEvals": created, "Diff": None,
            "FailedTGAllocs": failed, "Index": existing["JobModifyIndex"] if existing else 0,
            "JobModifyIndex": existing["JobModifyIndex"] if existing else 0, "NextPeriodicLaunch": None,
        }  # fmt: skip

    def release(self, allocation_id: str) -> None:
        """An allocation has ended: give back what it held."""
        self.usage.release(self._placements.pop(allocation_id))

    def change_devices(self, devices: list[Row] | None) -> None:
        """The node's client has found other devices, or others of them well; what waited for them may go."""
        node = self.state.node
        if devices == node["NodeResources"]["Devices"]:
            return
        changed = {key: value for key, value in node.items() if key != "ModifyIndex"}
        # As always when an attribute changes, such as the number of those that are well.
        changed["ComputedClass"] = f"v1:{uuid.uuid4().int % 2**64}"
        changed["NodeResources"] = {**node["NodeResources"], "Devices": devices}
        self.state.apply("NodeRegistration", [("Node", changed)])
        self.unblock()

    def unblock(self) -> None:
        """Place what waited, as far as there is room now; urgent jobs first, then the oldest."""
        waiting = [self.state.evaluations[one] for one in self._blocked]
        refused: set[Request] = set()
        for evaluation in sorted(waiting, key=lambda one: (-one["Priority"], one["CreateIndex"])):
            request = Request.from_job(self.state.jobs[evaluation["JobID"]])
            # One refusal speaks for all requests like it: a thousand equal waiters cost one look.
            if request not in refused and self._unblock_one(evaluation, request) is not None:
                refused.add(request)

    def _unblock_one(self, evaluation: Row, request: Request) -> Refusal | None:
        job = self.state.jobs[evaluation["JobID"]]
        missing = self._missing(job)
        placements, refusal = self._try(request, len(missing))
        if not placements:
            return refusal
        group = job["TaskGroups"][0]["Name"]
        snapshot = self.state.index
        self._place(job, evaluation, missing, placements)
        left = len(missing) - len(placements)
        updated = {
            **self.state.evaluations[evaluation["ID"]], "ModifyTime": now(), "SnapshotIndex": snapshot,
            "PlanAnnotations": plan_annotations(group, Place=len(missing)), "QueuedAllocations": {group: left},
        }  # fmt: skip
        if refusal is None:
            del self._blocked[evaluation["ID"]], updated["FailedTGAllocs"], updated["StatusDescription"]
            updated["Status"] = "complete"
        else:
            updated["FailedTGAllocs"] = {group: refusal.metrics(left - 1)}
        self.state.apply("EvaluationUpdated", [("Evaluation", updated)], settle=[job["ID"]])
        return refusal

    def _check(self, job: Row) -> None:
        if found := problems(job):
            raise Refused(500, multierror(found))
        if job["Namespace"] != NAMESPACE:
            text = f'job "{job["ID"]}" is in nonexistent namespace "{job["Namespace"]}"'
            raise Refused(500, multierror([text]))
        if job["NodePool"] not in (NODE_POOL, "all"):
            text = f'job "{job["ID"]}" is in nonexistent node pool "{job["NodePool"]}"'
            raise Refused(500, multierror([text]))
        _check_supported(job)

    def _evaluate(self, evaluation: Row) -> None:
        job = self.state.jobs[evaluation["JobID"]]
        group, missing = job["TaskGroups"][0]["Name"], self._missing(job)
        placements, refusal = self._try(Request.from_job(job), len(missing))
        if placements:
            self._place(job, evaluation, missing, placements)
        left = len(missing) - len(placements)
        complete = self._completed(evaluation, group, Place=len(missing), left=left)
        if refusal is not None:
            failed = {group: refusal.metrics(left - 1)}
            blocked = self._blocked_evaluation(evaluation, failed, refusal)
            self._blocked[blocked["ID"]] = None
            self.state.apply("EvaluationUpdated", [("Evaluation", blocked)])
            complete |= {"BlockedEval": blocked["ID"], "FailedTGAllocs": failed}
        self.state.apply("EvaluationUpdated", [("Evaluation", complete)], settle=[job["ID"]])

    def _try(self, request: Request, count: int) -> tuple[list[Placement], Refusal | None]:
        """Book room for as many members as fit; the refusal of the first that does not."""
        placements: list[Placement] = []
        for _ in range(count):
            outcome = place(self.state.node, self.usage, request, self._is_bindable)
            if isinstance(outcome, Refusal):
                return placements, outcome
            self.usage.take(outcome)
            placements.append(outcome)
        return placements, None

    def _place(self, job: Row, evaluation: Row, missing: list[int], placements: list[Placement]) -> None:
        allocations = []
        for member, placement in zip(missing, placements, strict=False):  # the rest found no room
            allocation = _new_allocation(self.state.node, job, evaluation, member=member, placement=placement)
            allocations.append(allocation)
            self.state.allocation_jobs[allocation["ID"]] = job
            self._placements[allocation["ID"]] = placement
        changes = [("Evaluation", evaluation), *(("Allocation", one) for one in allocations)]
        self.state.apply("PlanResult", changes, settle=[job["ID"]])
        for allocation in allocations:
            self.on_placed(allocation["ID"], self._placements[allocation["ID"]])

    def _missing(self, job: Row) -> list[int]:
        """The members of the job's current version that were never placed."""
        placed = {
            allocation["Name"]
            for allocation in self.state.allocations_of(job["ID"])
            if self.state.allocation_jobs[allocation["ID"]]["Version"] == job["Version"]
        }
        group = job["TaskGroups"][0]
        return [n for n in range(group["Count"]) if _member_name(job, n) not in placed]

    def _stop_all(self, job: Row, evaluation: Row) -> None:
        live = [one for one in self.state.allocations_of(job["ID"]) if not is_terminal(one)]
        if live:
            told = {"DesiredStatus": "stop", "DesiredDescription": _ALLOCATION_STOPPED, "ModifyTime": now()}
            stops = [{key: one[key] for key in one if key != "AllocModifyIndex"} | told for one in live]
            changes = [("Evaluation", evaluation), *(("Allocation", one) for one in stops)]
            self.state.apply("PlanResult", changes, settle=[job["ID"]])
        changes = [
            ("Evaluation", {
                **blocked, "Status": "canceled", "ModifyTime": now(),
                "StatusDescription": f'evaluation "{evaluation["ID"]}" successful',
            })
            for blocked in self.state.evaluations_of(job["ID"])
            if blocked["ID"] in self._blocked
        ]  # fmt: skip
        for _, row in changes:
            del self._blocked[row["ID"]]
        group = job["TaskGroups"][0]["Name"]
        changes.append(("Evaluation", self._completed(evaluation, group, Stop=len(live), left=0)))
        self.state.apply("EvaluationUpdated", changes, settle=[job["ID"]])
        for one in live:
            self.on_stopped(one["ID"])

    def _completed(self, evaluation: Row, group: str, *, left: int, **updates: int) -> Row:
        return {
            **self.state.evaluations[evaluation["ID"]], "Status": "complete", "ModifyTime": now(),
            "PlanAnnotations": plan_annotations(group, **updates), "QueuedAllocations": {group: left},
            "SnapshotIndex": evaluation["ModifyIndex"],
        }  # fmt: skip

    def _blocked_evaluation(self, evaluation: Row, failed: Row, refusal: Refusal) -> Row:
        kept = {key: evaluation[key] for key in ("JobID", "Namespace", "Priority", "Type")}
        eligible = {} if self.state.node["ComputedClass"] is None else {
            self.state.node["ComputedClass"]: refusal.filtered is None
        }  # fmt: skip
        at = now()
        return {
            **kept, "ClassEligibility": eligible, "CreateTime": at, "FailedTGAllocs": failed, "ID": str(uuid.uuid4()),
            "JobModifyIndex": evaluation.get("JobModifyIndex", 0), "ModifyTime": at, "PreviousEval": evaluation["ID"],
            "SnapshotIndex": evaluation.get("ModifyIndex", 0), "Status": "blocked",
            "StatusDescription": _BLOCKED_TEXT, "TriggeredBy": "queued-allocs",
        }  # fmt: skip


def _check_index(existing: Row | None, *, enforce_index: bool, given: int) -> None:
    if not enforce_index or (existing["JobModifyIndex"] if existing else 0) == given:
        return
    if existing is None:
        text = "job does not exist"
    elif given == 0:
        text = "job already exists"
    else:
        text = f"job exists with conflicting job modify index: {existing['JobModifyIndex']}"
    raise Refused(500, f"Enforcing job modify index {given}: {text}")


def _check_supported(job: Row) -> None:
    if job["Type"] != "batch":
        raise Unsupported(f"jobs of type {job['Type']}")
    group, *other_groups = job["TaskGroups"]
    task, *other_tasks = group["Tasks"]
    if other_groups or other_tasks:
        raise Unsupported("jobs with more than one group or task")
    for row, keys in ((job, _NO_JOB_KEYS), (group, _NO_GROUP_KEYS), (task, _NO_TASK_KEYS)):
        for key in keys:
            if row[key]:
                raise Unsupported(f"{key} in a job")
    if (group["Networks"] or [{"Mode": "host"}])[0]["Mode"] != "host":
        raise Unsupported("networks other than host")
    if any(service["Provider"] != "consul" for row in (group, task) for service in row["Services"] or ()):
        raise Unsupported("services outside Consul")
    if any(volume["Type"] != "host" or volume["PerAlloc"] for volume in (group["Volumes"] or {}).values()):
        raise Unsupported("volumes other than the node's own")
    if any(secret["Provider"] != "nomad" for secret in task["Secrets"] or ()):
        raise Unsupported("secrets outside Nomad's variables")


def _new_evaluation(job: Row, trigger: str) -> Row:
    at = now()
    return {
        "CreateTime": at, "ID": str(uuid.uuid4()), "JobID": job["ID"], "ModifyTime": at, "Namespace": job["Namespace"],
        "Priority": job["Priority"], "Status": "pending", "TriggeredBy": trigger, "Type": job["Type"],
    }  # fmt: skip


def _member_name(job: Row, member: int) -> str:
    return f"{job['ID']}.{job['TaskGroups'][0]['Name']}[{member}]"


def _new_allocation(node: Row, job: Row, evaluation: Row, *, member: int, placement: Placement) -> Row:
    group = job["TaskGroups"][0]
    task = group["Tasks"][0]
    asked, disk = task["Resources"], group["EphemeralDisk"]["SizeMB"]
    networks, ports = _allocated_network(group, placement)
    devices: Any = [
        {"DeviceIDs": list(ids), "Name": name, "Type": kind, "Vendor": vendor}
        for (vendor, kind, name), ids in ((key.split("/", 2), ids) for key, ids in placement.devices.items())
    ] or None
    at = now()
    return {
        "AllocatedResources": {
            "Shared": {"DiskMB": disk, "Networks": networks, "Ports": ports},
            "TaskLifecycles": {task["Name"]: None},
            "Tasks": {
                task["Name"]: {
                    "Cpu": {"CpuShares": asked["CPU"], "ReservedCores": None}, "Devices": devices,
                    "Memory": {"MemoryMB": asked["MemoryMB"], "MemoryMaxMB": asked["MemoryMaxMB"]}, "Networks": None,
                }
            },
        },
        "ClientStatus": "pending", "CreateTime": at, "DesiredStatus": "run", "EvalID": evaluation["ID"],
        "ID": str(uuid.uuid4()), "JobID": job["ID"],
        "Metrics": placement_metrics(nodes=1, ScoreMetaData=[_score(node)]),
        "ModifyTime": at, "Name": _member_name(job, member), "Namespace": job["Namespace"], "NodeID": node["ID"],
        "NodeName": node["Name"],
        "Resources": resources(
            CPU=asked["CPU"], MemoryMB=asked["MemoryMB"], MemoryMaxMB=asked["MemoryMaxMB"] or asked["MemoryMB"],
            DiskMB=disk, Networks=networks,
        ),
        "SharedResources": resources(DiskMB=disk, Networks=networks),
        "SigningKeyID": node["IdentitySigningKeyID"], "TaskGroup": group["Name"],
        "TaskResources": {
            task["Name"]: resources(
                CPU=asked["CPU"], MemoryMB=asked["MemoryMB"], MemoryMaxMB=asked["MemoryMaxMB"],
                Devices=asked["Devices"],
            )
        },
    }  # fmt: skip


def _allocated_network(group: Row, placement: Placement) -> tuple[list[Row] | None, list[Row] | None]:
    if not group["Networks"]:
        return None, None
    network: Row = {"IP": "127.0.0.1", "Mode": "host"}
    ports = []
    for key in ("DynamicPorts", "ReservedPorts"):
        if given := group["Networks"][0].get(key):
            network[key] = [{**port, "Value": placement.ports[port["Label"]]} for port in given]
            ports += [
                {"HostIP": "127.0.0.1", **{name: port[name] for name in ("Label", "To", "Value") if name in port}}
                for port in network[key]
            ]
    return [network], ports


def _score(node: Row) -> Row:
    # One node: the scores decide nothing, and only their shape is kept.
    names = ("binpack", "job-anti-affinity", "node-affinity", "node-reschedule-penalty")
    return {"NodeID": node["ID"], "NormScore": 0.0, "Scores": dict.fromkeys(names, 0.0)}
