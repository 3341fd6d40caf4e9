"""The node's client: runs what was placed, reports what becomes of it, keeps its services in the catalog."""

import asyncio
import hashlib
import json
import logging
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from rock_nomad.embedded.catalog import Catalog, Check, Instance
from rock_nomad.embedded.checks import CheckPoller
from rock_nomad.embedded.drivers.directories import TaskDirectories
from rock_nomad.embedded.drivers.driver import Driver, RunningTask, StartRefused, TaskSpec
from rock_nomad.embedded.interpolation import interpolate, interpolate_tree, resolver, task_environment
from rock_nomad.embedded.lifecycle import (
    DirectoryBuilt,
    DriverSaid,
    Effect,
    Event,
    Life,
    MaxRunReached,
    Received,
    Started,
    StartFailed,
    StopRequested,
    advance,
)
from rock_nomad.embedded.placement import Placement
from rock_nomad.embedded.rows import Row
from rock_nomad.embedded.scheduler import Scheduler
from rock_nomad.embedded.state import State, now
from rock_nomad.embedded.units import SECOND

log = logging.getLogger(__name__)

_KEPT_DIRECTORIES = 50  # of ended allocations, as Nomad's gc_max_allocs
_MAX_KILL_TIMEOUT = 30 * SECOND  # as Nomad's max_kill_timeout
_REPORT_DELAY = 0.1  # seconds; a real client reports every 200 ms, so that a change waits half of that in the mean


class Client:
    """Runs allocations until `close`.  Use it inside the task group it is given."""

    def __init__(self, scheduler: Scheduler, catalog: Catalog, drivers: Mapping[str, Driver], data_dir: Path) -> None:
        self.state: State = scheduler.state
        self.scheduler, self.catalog, self.drivers = scheduler, catalog, drivers
        self.allocation_folder = data_dir / "alloc"
        self._runs: dict[str, AllocationRun] = {}
        self._ended: deque[str] = deque()  # directories, oldest first
        self._reports: dict[str, Row] = {}  # by allocation id, not yet told to the servers
        self._over: list[str] = []  # allocations whose end is among the reports
        self._flush: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._tasks: asyncio.TaskGroup | None = None
        self._poller: CheckPoller | None = None
        scheduler.on_placed, scheduler.on_stopped = self._place, self._stop

    def open(self, tasks: asyncio.TaskGroup, poller: CheckPoller) -> None:
        """Begin to run what is placed, in this task group."""
        self._tasks, self._poller = tasks, poller

    async def close(self) -> None:
        """End every task and return when none is left; what waits for room gets none any more."""
        self._is_closing = True
        for run in tuple(self._runs.values()):
            run.deliver(StopRequested())
        while self._runs:
            await asyncio.gather(*(run.is_over.wait() for run in tuple(self._runs.values())))
        if self._flush is not None:
            self._flush.cancel()
            self._tell_servers()

    def _place(self, allocation_id: str, placement: Placement) -> None:
        if self._tasks is None or self._poller is None:
            raise RuntimeError("the client is not open")
        run = AllocationRun(self, self.state.allocations[allocation_id], placement, self._poller)
        self._runs[allocation_id] = run
        self._tasks.create_task(run.run(), name=f"allocation {allocation_id}")

    def _stop(self, allocation_id: str) -> None:
        if run := self._runs.get(allocation_id):
            run.deliver(StopRequested())

    def report(self, allocation_id: str, life: Life) -> None:
        """Tell the servers how an allocation stands, with the next batch of reports."""
        self._reports[allocation_id] = life.client_fields()
        if life.is_over:
            self._over.append(allocation_id)
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(_REPORT_DELAY, self._tell_servers)

    def forget(self, allocation_id: str, directory: str) -> None:
        """An allocation has ended and nothing of it runs any more."""
        del self._runs[allocation_id]
        self._ended.append(directory)
        if len(self._ended) > _KEPT_DIRECTORIES and self._tasks is not None:
            doomed = self._ended.popleft()
            self._tasks.create_task(asyncio.to_thread(shutil.rmtree, doomed, ignore_errors=True))

    def directories(self, allocation: Row, task: str) -> TaskDirectories:
        """Where an allocation's files live."""
        return TaskDirectories(str(self.allocation_folder / allocation["ID"]), task)

    def _tell_servers(self) -> None:
        self._flush = None
        at, rows = now(), self.state.allocations
        told = [{**rows[one], **fields, "ModifyTime": at} for one, fields in self._reports.items()]
        node = {**self.state.node, "LastAllocUpdateIndex": self.state.index + 1}
        changes = [*(("Allocation", row) for row in told), ("Node", node)]
        self._reports.clear()
        self.state.apply("AllocationUpdated", changes, settle={row["JobID"] for row in told})
        for allocation_id in self._over:
            self.scheduler.release(allocation_id)
        if self._over and not self._is_closing:
            self.scheduler.unblock()
        self._over.clear()


class AllocationRun:
    """One allocation: feeds what happens to `advance`, and does what that says."""

    def __init__(self, client: Client, allocation: Row, placement: Placement, poller: CheckPoller) -> None:
        self._client, self._allocation, self._poller = client, allocation, poller
        self._job = client.state.allocation_jobs[allocation["ID"]]
        self._group = self._job["TaskGroups"][0]
        self._row = self._group["Tasks"][0]
        self._directories = client.directories(allocation, self._row["Name"])
        node = client.state.node
        brings_files = client.drivers[self._row["Driver"]].capabilities.brings_files
        seen = None if brings_files else self._directories
        environment = task_environment(node, self._job, allocation, placement, seen)
        self._environment, self._resolve = environment, resolver(node, environment)
        self._placement = placement
        kill_timeout = min(self._row["KillTimeout"], _MAX_KILL_TIMEOUT)
        self._life = Life(task=self._row["Name"], kill_timeout=kill_timeout)
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._registered: list[tuple[Instance, asyncio.Task[None]]] = []
        self._task: RunningTask | None = None
        self._starting: asyncio.Task[None] | None = None
        self.is_over = asyncio.Event()

    def deliver(self, event: Event) -> None:
        """Tell the allocation that something happened."""
        self._events.put_nowait(event)

    async def run(self) -> None:
        """Live the allocation to its end."""
        driver = self._client.drivers[self._row["Driver"]]
        deadline = self._set_deadline()
        try:
            async with asyncio.TaskGroup() as tasks:
                self.deliver(Received())
                self.deliver(await self._build(driver))
                while not self._life.is_over:
                    for effect in self._step(await self._events.get()):
                        await self._do(effect, driver, tasks)
        finally:
            if deadline is not None:
                deadline.cancel()
            self._client.forget(self._allocation["ID"], self._directories.root)
            self.is_over.set()

    def _step(self, event: Event) -> tuple[Effect, ...]:
        before = self._life
        self._life, effects = advance(before, event, now())
        if self._life is not before:
            self._client.report(self._allocation["ID"], self._life)
        return effects

    async def _do(self, effect: Effect, driver: Driver, tasks: asyncio.TaskGroup) -> None:
        match effect:
            case Effect.START:
                self._starting = tasks.create_task(self._start(driver))
            case Effect.REGISTER_GROUP_SERVICES:
                self._register(f"group-{self._group['Name']}", self._group["Services"], tasks)
            case Effect.REGISTER_TASK_SERVICES:
                self._register(self._row["Name"], self._row["Services"], tasks)
            case Effect.DEREGISTER_SERVICES:
                for instance, checks in self._registered:
                    self._client.catalog.deregister(instance)
                    checks.cancel()
                self._registered.clear()
            case Effect.KILL:
                if self._task is not None:
                    await self._task.stop()

    async def _build(self, driver: Driver) -> Event:
        try:
            if driver.capabilities.needs_directories:
                await asyncio.to_thread(self._directories.make)
        except OSError as error:
            return StartFailed(f"failed to build task directory: {error}")
        return DirectoryBuilt()

    async def _start(self, driver: Driver) -> None:
        try:
            self._task = await driver.start(self._spec())
        except (StartRefused, OSError) as error:
            self.deliver(StartFailed(str(error)))
            return
        self.deliver(Started())
        self.deliver(await self._task.wait())

    def _set_deadline(self) -> asyncio.TimerHandle | None:
        limit = self._group["MaxRunDuration"]
        if not limit:
            return None
        left = (self._allocation["CreateTime"] + limit - now()) / SECOND
        return asyncio.get_running_loop().call_later(max(0.0, left), self.deliver, MaxRunReached())

    def _spec(self) -> TaskSpec:
        node = self._client.state.node
        return TaskSpec.from_rows(
            node,
            self._group,
            self._placement,
            allocation_id=self._allocation["ID"],
            config=interpolate_tree(self._row["Config"] or {}, resolver(node, self._environment | self._secrets())),
            environment=self._environment,
            directories=self._directories,
            kill_timeout=self._life.kill_timeout / SECOND,
            say=lambda text, details: self.deliver(DriverSaid(text, details)),
        )

    def _secrets(self) -> dict[str, str]:
        """What `${secret.NAME.KEY}` stands for: items of Nomad's variables, read as lines of a dotenv file."""
        found = {}
        for secret in self._row["Secrets"] or ():
            if (variable := self._client.state.variables.get(secret["Path"])) is None:
                raise StartRefused(f"no variable at {secret['Path']}")
            for key, value in variable["Items"].items():
                found[f"secret.{secret['Name']}.{key}"] = json.loads(value) if value.startswith('"') else value
        return found

    def _register(self, owner: str, rows: Sequence[Row] | None, tasks: asyncio.TaskGroup) -> None:
        for row in rows or ():
            instance = self._render_instance(owner, row)
            self._client.catalog.register(instance)
            self._registered.append((instance, tasks.create_task(self._poller.poll(instance))))

    def _render_instance(self, owner: str, row: Row) -> Instance:
        name = interpolate(row["Name"], self._resolve)
        port = self._placement.ports.get(row["PortLabel"], 0)
        meta = {key: interpolate(value, self._resolve) for key, value in (row["Meta"] or {}).items()}
        instance_id = f"_nomad-task-{self._allocation['ID']}-{owner}-{name}-{row['PortLabel']}"
        return Instance(
            instance_id=instance_id,
            name=name,
            address="127.0.0.1",
            port=port,
            tags=tuple(interpolate(tag, self._resolve) for tag in row["Tags"] or ()),
            meta={**meta, "external-source": "nomad"},
            checks=tuple(
                self._render_check(instance_id, check, port) for check in row["Checks"] or () if check["Type"] == "http"
            ),
        )

    def _render_check(self, instance_id: str, row: Row, port: int) -> Check:
        own = self._placement.ports.get(row["PortLabel"], port)
        digest = hashlib.sha256(f"{instance_id}/{row['Name']}".encode()).hexdigest()
        return Check(
            check_id=f"_nomad-check-{digest}",
            name=interpolate(row["Name"], self._resolve),
            url=f"http://127.0.0.1:{own}{interpolate(row['Path'], self._resolve)}",
            interval=row["Interval"] / SECOND,
            timeout=row["Timeout"] / SECOND,
            status=row["InitialStatus"] or "critical",
        )
