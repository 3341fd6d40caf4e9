"""Nomad's HTTP API over the state: every handler of `routes.NOMAD_ROUTES`."""

import asyncio
import contextlib
import hmac
import os
import platform
import uuid
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from rock_nomad.embedded.drivers.directories import TaskDirectories
from rock_nomad.embedded.drivers.logs import read_frames
from rock_nomad.embedded.errors import Refused
from rock_nomad.embedded.events import Topics
from rock_nomad.embedded.http import BlockingQuery, Handler, build_application, json_response
from rock_nomad.embedded.jobs import canonicalize, multierror, problems, warnings
from rock_nomad.embedded.node import VERSION
from rock_nomad.embedded.routes import NOMAD_COMMON, NOMAD_ROUTES
from rock_nomad.embedded.rows import NAMESPACE, REGION, Row, allocation_stub, job_stub, node_stub
from rock_nomad.embedded.scheduler import Scheduler

_HEARTBEAT = 30.0  # seconds between `{}` lines of an idle event stream
_OPEN = ("get_leader",)  # answered without a token, as Nomad does


class NomadApi:
    """Answers Nomad's calls from one scheduler's state, and from the directories of its client's allocations."""

    def __init__(self, scheduler: Scheduler, token: str, allocation_folder: Path) -> None:
        self._scheduler, self._state, self._folder = scheduler, scheduler.state, allocation_folder
        self._token = token.encode()

    def application(self) -> web.Application:
        """The application to serve."""
        handlers: dict[str, Handler] = {
            route.name: self._authorized(route.name, getattr(self, f"_{route.name}")) for route in NOMAD_ROUTES
        }
        return build_application(NOMAD_ROUTES, handlers, NOMAD_COMMON)

    def _authorized(self, name: str, handler: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            given = request.headers.get("X-Nomad-Token", "").encode()
            if name not in _OPEN and not hmac.compare_digest(given, self._token):
                raise Refused(403, "Permission denied")
            return await handler(request)

        return answer

    async def _register_job(self, request: web.Request) -> web.Response:
        body, job = await self._read_job(request, request.match_info["id"])
        evaluation = self._scheduler.register(
            job, enforce_index=bool(body.get("EnforceIndex")), job_modify_index=int(body.get("JobModifyIndex") or 0)
        )
        index = evaluation["CreateIndex"]
        reply = {
            "EvalCreateIndex": index, "EvalID": evaluation["ID"], "Index": index, "JobModifyIndex": index,
            "KnownLeader": False, "LastContact": 0, "NextToken": "", "Warnings": warnings(job),
        }  # fmt: skip
        return json_response(reply, headers={"X-Nomad-Index": str(index)})

    async def _plan_job(self, request: web.Request) -> web.Response:
        _, job = await self._read_job(request, request.match_info["id"])
        return json_response({**self._scheduler.plan(job), "Warnings": warnings(job)})

    async def _validate_job(self, request: web.Request) -> web.Response:
        _, job = await self._read_job(request, None)
        found = problems(job)
        reply = {
            "DriverConfigValidated": True, "Error": multierror(found) if found else "",
            "ValidationErrors": found or None, "Warnings": warnings(job),
        }  # fmt: skip
        return json_response(reply)

    async def _deregister_job(self, request: web.Request) -> web.Response:
        purge = request.query.get("purge") == "true"
        evaluation = self._scheduler.deregister(request.match_info["id"], purge=purge)
        index = evaluation["CreateIndex"] if evaluation else 0
        reply = {
            "EvalCreateIndex": index, "EvalID": evaluation["ID"] if evaluation else "", "Index": index,
            "JobModifyIndex": index, "KnownLeader": False, "LastContact": 0, "NextToken": "", "VolumeEvalID": "",
            "VolumeEvalIndex": 0,
        }  # fmt: skip
        return json_response(reply, headers={"X-Nomad-Index": str(index)})

    async def _get_job(self, request: web.Request) -> web.Response:
        job_id = request.match_info["id"]
        return await self._read_one(request, ("job", job_id), "jobs", lambda: self._job(job_id))

    async def _get_job_allocations(self, request: web.Request) -> web.Response:
        job_id = request.match_info["id"]
        await self._block(request, ("allocs", job_id), "allocs")
        stubs = [self._allocation_stub(one) for one in self._state.allocations_of(job_id)]
        return self._reply(stubs, self._index(("allocs", job_id), "allocs"))

    async def _get_job_evaluations(self, request: web.Request) -> web.Response:
        job_id = request.match_info["id"]
        await self._block(request, ("evals", job_id), "evals")
        rows = sorted(self._state.evaluations_of(job_id), key=lambda row: row["ID"])  # Nomad's order: by id
        return self._reply(rows, self._index(("evals", job_id), "evals"))

    async def _get_job_summary(self, request: web.Request) -> web.Response:
        summary = self._state.summary(self._job(request.match_info["id"]))
        return self._reply(summary, summary["ModifyIndex"])

    async def _list_jobs(self, request: web.Request) -> web.Response:
        await self._block(request, "jobs", "jobs")
        prefix, meta = request.query.get("prefix", ""), request.query.get("meta") == "true"
        jobs = sorted((job for job in self._state.jobs.values() if job["ID"].startswith(prefix)), key=lambda j: j["ID"])
        page, token = _paginate(request, jobs, lambda job: (f"{job['Namespace']}.{job['ID']}",))
        stubs = [job_stub(job, self._state.summary(job), meta=meta) for job in page]
        return self._reply(stubs, self._state.modified("jobs"), next_token=token)

    async def _list_allocations(self, request: web.Request) -> web.Response:
        await self._block(request, "allocs", "allocs")
        task_states = request.query.get("task_states") != "false"
        page, token = _paginate(request, _by_age(self._state.allocations), _age_token)
        stubs = [self._allocation_stub(one, task_states=task_states) for one in page]
        return self._reply(stubs, self._state.modified("allocs"), next_token=token)

    async def _get_allocation(self, request: web.Request) -> web.Response:
        allocation_id = _uuid(request, "alloc lookup failed: index error: ")

        def read() -> Row:
            if (row := self._state.allocations.get(allocation_id)) is None:
                raise Refused(404, "alloc not found")
            return {**row, "Job": self._state.allocation_jobs[allocation_id]}

        return await self._read_one(request, ("alloc", allocation_id), "allocs", read)

    async def _list_evaluations(self, request: web.Request) -> web.Response:
        status = request.query.get("status", "")
        rows = [row for row in _by_age(self._state.evaluations) if status in ("", row["Status"])]
        page, token = _paginate(request, rows, _age_token)
        return self._reply(page, self._state.modified("evals"), next_token=token)

    async def _get_evaluation(self, request: web.Request) -> web.Response:
        evaluation_id = _uuid(request, "failed to lookup eval: eval lookup failed: index error: ")

        def read() -> Row:
            if (row := self._state.evaluations.get(evaluation_id)) is None:
                raise Refused(404, "eval not found")
            return row

        return await self._read_one(request, ("eval", evaluation_id), "evals", read)

    async def _list_nodes(self, request: web.Request) -> web.Response:
        await self._block(request, "nodes", "nodes")
        stub = node_stub(self._state.node, show_resources=request.query.get("resources") == "true")
        return self._reply([stub], self._state.modified("nodes"))

    async def _get_node(self, request: web.Request) -> web.Response:
        node_id = _uuid(request, "node lookup failed: index error: ")

        def read() -> Row:
            if node_id != self._state.node["ID"]:
                raise Refused(404, "node not found")
            return self._state.node

        return await self._read_one(request, ("node", node_id), "nodes", read)

    async def _stream_events(self, request: web.Request) -> web.StreamResponse:
        index = BlockingQuery.from_request(request).index
        subscriber = self._state.events.subscribe(Topics.parse(request.query.getall("topic", [])), index)
        reply = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            await reply.prepare(request)
            await reply.write(b"{}\n")  # as Nomad does, and so a reader knows at once that the stream is open
            while True:
                line = b"{}\n"
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_HEARTBEAT):
                        batch = await subscriber.batches.get()
                    if batch is None:
                        return reply
                    line = msgspec.json.encode({"Index": batch[0], "Events": batch[1]}) + b"\n"
                await reply.write(line)
        except ConnectionError:
            return reply
        finally:
            self._state.events.unsubscribe(subscriber)

    async def _stream_log(self, request: web.Request) -> web.StreamResponse:
        allocation_id = _uuid(request, "alloc lookup failed: index error: ")
        if (allocation := self._state.allocations.get(allocation_id)) is None:
            raise Refused(404, f'Unknown allocation "{allocation_id}"')
        task, kind = request.query.get("task", ""), request.query.get("type", "")
        if kind not in ("stdout", "stderr"):
            raise Refused(400, "must provide log type (stdout/stderr)")
        directories = TaskDirectories(str(self._folder / allocation_id), task)
        if not ((allocation.get("TaskStates") or {}).get(task) or {}).get("StartedAt"):
            raise Refused(404, f'task "{task}" not started yet. No logs available')
        if not await asyncio.to_thread(os.path.exists, directories.root):
            raise Refused(404, f"state for allocation {allocation_id} not found on client")
        reply = web.StreamResponse(headers={"Content-Type": "application/json"})
        with contextlib.suppress(ConnectionError):
            await reply.prepare(request)
            is_followed = request.query.get("follow") == "true"
            async for frame in read_frames(Path(directories.logs), f"{task}.{kind}", follow=is_followed):
                await reply.write(frame)
        return reply

    async def _put_variable(self, request: web.Request) -> web.Response:
        given = msgspec.json.decode(await request.read())
        cas = int(request.query["cas"]) if "cas" in request.query else None
        row = self._state.put_variable(request.match_info["path"], given["Items"], cas)
        return json_response(row) if row else json_response({}, status=409)

    async def _delete_variable(self, request: web.Request) -> web.Response:
        self._state.variables.pop(request.match_info["path"], None)
        return web.Response(status=204)

    async def _list_variables(self, request: web.Request) -> web.Response:
        prefix = request.query.get("prefix", "")
        found = sorted(path for path in self._state.variables if path.startswith(prefix))
        rows = [self._state.variables[path] for path in found]
        page, token = _paginate(request, rows, lambda row: (f"{NAMESPACE}.{row['Path']}",))
        stubs = [{key: value for key, value in row.items() if key != "Items"} for row in page]
        return self._reply(stubs, self._state.index, next_token=token)

    async def _get_agent(self, _request: web.Request) -> web.Response:
        name = f"{platform.node()}.{REGION}"
        address, _, port = self._state.node["HTTPAddr"].rpartition(":")
        member = {
            "Addr": address, "DelegateCur": 4, "DelegateMax": 5, "DelegateMin": 2, "Name": name, "Port": int(port),
            "ProtocolCur": 2, "ProtocolMax": 5, "ProtocolMin": 1, "Status": "alive",
            "Tags": {"build": VERSION, "role": "nomad", "region": REGION, "dc": self._state.node["Datacenter"]},
        }  # fmt: skip
        config = {"Version": {"Version": VERSION}, "Region": REGION, "Datacenter": self._state.node["Datacenter"]}
        return json_response({"config": config, "member": member, "stats": {}})

    async def _get_leader(self, _request: web.Request) -> web.Response:
        return json_response(self._state.node["HTTPAddr"])

    async def _read_job(self, request: web.Request, job_id: str | None) -> tuple[Row, Row]:
        """(the body, its canonical job); `job_id` is the path's."""
        body, job = self.parse_job(await request.read())
        if job_id is not None and job["ID"] != job_id:
            raise Refused(400, "Job ID does not match name")
        return body, job

    @staticmethod
    def parse_job(data: bytes) -> tuple[Row, Row]:
        """(the body of a request, its canonical job).

        Raises Refused: there is none, or not one that can be read.
        """
        if not data:
            raise Refused(400, "Request body is empty")
        try:
            body: Any = msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            raise Refused(400, str(error)) from error
        if not isinstance(body, dict) or not isinstance(body.get("Job"), dict):
            raise Refused(400, "Job must be specified")
        try:
            job = canonicalize(body["Job"])
            problems(job)
        except (AttributeError, TypeError, KeyError) as error:  # a list where an object belongs, and the like
            raise Refused(400, f"json: cannot decode the job: {error}") from error
        return body, job

    def _job(self, job_id: str) -> Row:
        if (job := self._state.jobs.get(job_id)) is None:
            raise Refused(404, "job not found")
        return job

    def _allocation_stub(self, allocation: Row, *, task_states: bool = True) -> Row:
        return allocation_stub(allocation, self._state.allocation_jobs[allocation["ID"]], task_states=task_states)

    def _index(self, key: Hashable, table: str) -> int:
        """When what the key names last changed, or the table, if there is no such thing."""
        changed = self._state.modified(key)
        return changed if changed > 1 else self._state.modified(table)

    async def _block(self, request: web.Request, key: Hashable, table: str) -> None:
        query = BlockingQuery.from_request(request)
        await query.until_newer(lambda: self._index(key, table), self._state.watches, key)

    async def _read_one(self, request: web.Request, key: Hashable, table: str, read: Callable[[], Row]) -> web.Response:
        await self._block(request, key, table)
        return self._reply(read(), self._index(key, table))

    def _reply(self, value: object, index: int, *, next_token: str = "") -> web.Response:
        headers = {"X-Nomad-Index": str(index), "X-Nomad-LastContact": "0", "X-Nomad-KnownLeader": "true"}
        if next_token:
            headers["X-Nomad-NextToken"] = next_token
        return json_response(value, headers=headers)


def _uuid(request: web.Request, context: str) -> str:
    text = request.match_info["id"]
    try:
        if len(text) == 36:
            return str(uuid.UUID(text))
    except ValueError:
        raise Refused(500, f"{context}Invalid UUID: {text}") from None
    raise Refused(500, f"{context}UUID must be 36 characters")


def _by_age(rows: dict[str, Row]) -> list[Row]:
    return sorted(rows.values(), key=_age_token)


def _age_token(row: Row) -> tuple[int, str]:
    return row["CreateIndex"], row["ID"]


def _paginate(request: web.Request, rows: list[Row], key: Callable[[Row], tuple[Any, ...]]) -> tuple[list[Row], str]:
    """One page of sorted rows, and the token of the next: the key of its first row."""
    if start := request.query.get("next_token"):
        number, _, rest = start.partition(".")
        wanted: tuple[Any, ...] = (start,) if number == NAMESPACE else (int(number), rest)
        rows = [row for row in rows if key(row) >= wanted]
    per_page = int(request.query.get("per_page") or 0)
    if not per_page or len(rows) <= per_page:
        return rows, ""
    return rows[:per_page], ".".join(map(str, key(rows[per_page])))
