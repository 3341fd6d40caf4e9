"""The node's client: runs what was placed, reports what becomes of it, keeps its services in the catalog."""

import asyncio
import hashlib
import logging
import os
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from rock_nomad.embedded.catalog import Catalog, Check, Instance
from rock_nomad.embedded.checks import CheckPoller
from rock_nomad.embedded.drivers.driver import Driver, RunningTask, StartRefused, TaskSpec
from rock_nomad.embedded.interpolation import (
    TaskDirectories,
    interpolate,
    interpolate_tree,
    resolver,
    task_environment,
)
from rock_nomad.embedded.lifecycle import (
    DirectoryBuilt,
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
_MIB = 1024 * 1024


class Client:
    """Runs allocations until `close`.  Use it inside the task group it is given."""

    def __init__(
        self, scheduler: Scheduler, catalog: Catalog, drivers: Mapping[str, Driver], data_dir: Path
    ) -> None:
        self.state: State = scheduler.state
        self.scheduler, self.catalog, self.drivers = scheduler, catalog, drivers
        self._data_dir = data_dir
        self._runs: dict[str, AllocationRun] = {}
        self._ended: deque[str] = deque()
        self._is_unblocking = False
        self._tasks: asyncio.TaskGroup | None = None
        self._poller: CheckPoller | None = None
        scheduler.on_placed, scheduler.on_stopped = self._place, self._stop

    def open(self, tasks: asyncio.TaskGroup, poller: CheckPoller) -> None:
        """Begin to run what is placed, in this task group."""
        self._tasks, self._poller = tasks, poller

    async def close(self) -> None:
        """End every task and return when none is left."""
        for run in tuple(self._runs.values()):
            run.deliver(StopRequested())
        while self._runs:
            await asyncio.gather(*(run.is_over.wait() for run in tuple(self._runs.values())))

    def _place(self, allocation_id: str, placement: Placement) -> None:
        if self._tasks is None or self._poller is None:
            raise RuntimeError("the client is not open")
        run = AllocationRun(self, self.state.allocations[allocation_id], placement, self._poller)
        self._runs[allocation_id] = run
        self._tasks.create_task(run.run(), name=f"allocation {allocation_id}")

    def _stop(self, allocation_id: str) -> None:
        if run := self._runs.get(allocation_id):
            run.deliver(StopRequested())

    def report(self, allocation_id: str, fields: Row) -> None:
        """Store what the client says of an allocation, as Nomad's servers would."""
        allocation = {**self.state.allocations[allocation_id], **fields, "ModifyTime": now()}
        node = {**self.state.node, "LastAllocUpdateIndex": self.state.index + 1}
        changes = [("Allocation", allocation), ("Node", node)]
        self.state.apply("AllocationUpdated", changes, settle=allocation["JobID"])

    def forget(self, allocation_id: str, directory: str) -> None:
        """An allocation has ended: its room is free for what waits."""
        del self._runs[allocation_id]
        self.scheduler.release(allocation_id)
        if not self._is_unblocking:
            self._is_unblocking = True
            asyncio.get_running_loop().call_soon(self._unblock)
        self._ended.append(directory)
        if len(self._ended) > _KEPT_DIRECTORIES and self._tasks is not None:
            doomed = self._ended.popleft()
            self._tasks.create_task(asyncio.to_thread(shutil.rmtree, doomed, ignore_errors=True))

    def directories(self, allocation: Row, task: str) -> TaskDirectories:
        """Where an allocation's files live."""
        return TaskDirectories(str(self._data_dir / "alloc" / allocation["ID"]), task)

    def _unblock(self) -> None:
        self._is_unblocking = False
        self.scheduler.unblock()


class AllocationRun:
    """One allocation: feeds what happens to `advance`, and does what that says."""

    def __init__(self, client: Client, allocation: Row, placement: Placement, poller: CheckPoller) -> None:
        self._client, self._allocation, self._poller = client, allocation, poller
        self._job = client.state.allocation_jobs[allocation["ID"]]
        self._row = self._job["TaskGroups"][0]["Tasks"][0]
        self._directories = client.directories(allocation, self._row["Name"])
        node = client.state.node
        environment = task_environment(node, self._job, allocation, placement, self._directories)
        self._environment, self._resolve = environment, resolver(node, environment)
        self._placement = placement
        kill_timeout = min(self._row["KillTimeout"], _MAX_KILL_TIMEOUT)
        self._life = Life(task=self._row["Name"], kill_timeout=kill_timeout)
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._instances: Sequence[Instance] = ()
        self._task: RunningTask | None = None
        self._starting: asyncio.Task[None] | None = None
        self._checks: asyncio.Task[None] | None = None
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
                self._step(Received())
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
            self._client.report(self._allocation["ID"], self._life.client_fields())
        return effects

    async def _do(self, effect: Effect, driver: Driver, tasks: asyncio.TaskGroup) -> None:
        match effect:
            case Effect.START:
                self._starting = tasks.create_task(self._start(driver))
            case Effect.REGISTER_SERVICES:
                self._instances = self._render_instances()
                for instance in self._instances:
                    self._client.catalog.register(instance)
                self._checks = tasks.create_task(self._poller.poll(self._instances))
            case Effect.DEREGISTER_SERVICES:
                for instance in self._instances:
                    self._client.catalog.deregister(instance)
                if self._checks is not None:
                    self._checks.cancel()
            case Effect.KILL:
                if self._task is not None:
                    await self._task.stop()

    async def _build(self, driver: Driver) -> Event:
        try:
            if driver.capabilities.needs_directories:
                await asyncio.to_thread(_make_directories, self._directories.all())
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
        limit = self._job["TaskGroups"][0]["MaxRunDuration"]
        if not limit:
            return None
        left = (self._allocation["CreateTime"] + limit - now()) / SECOND
        return asyncio.get_running_loop().call_later(max(0.0, left), self.deliver, MaxRunReached())

    def _spec(self) -> TaskSpec:
        row = self._row
        logs, asked = row["LogConfig"], row["Resources"]
        return TaskSpec(
            allocation_id=self._allocation["ID"],
            task=row["Name"],
            config=interpolate_tree(row["Config"] or {}, self._resolve),
            environment=self._environment,
            directories=self._directories,
            memory_mb=max(asked["MemoryMaxMB"], asked["MemoryMB"]),
            kill_signal=row["KillSignal"],
            kill_timeout=self._life.kill_timeout / SECOND,
            log_files=logs["MaxFiles"],
            log_file_bytes=logs["MaxFileSizeMB"] * _MIB,
        )

    def _render_instances(self) -> list[Instance]:
        return [self._render_instance(row) for row in self._row["Services"] or ()]

    def _render_instance(self, row: Row) -> Instance:
        name = interpolate(row["Name"], self._resolve)
        port = self._placement.ports.get(row["PortLabel"], 0)
        meta = {key: interpolate(value, self._resolve) for key, value in (row["Meta"] or {}).items()}
        instance_id = f"_nomad-task-{self._allocation['ID']}-{self._row['Name']}-{name}-{row['PortLabel']}"
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


def _make_directories(paths: Sequence[str]) -> None:
    for path in paths:
        os.makedirs(path, exist_ok=True)
