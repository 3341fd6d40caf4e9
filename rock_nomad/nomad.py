"""All we ask of Nomad.

Writes go through python-nomad, in threads: a registration costs 1.1 ms of CPU, against 0.4 by aiohttp, and there are as
many a second, because a real server is the slower part.  Reads do not: python-nomad shows neither the index, the Date
nor the next page of a reply, and can neither wait for a change nor read from a follower; so they, the blocking queries,
the event stream and logs are aiohttp's.  Together they stay below 80 connections, of an agent's 100 for one address.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
import nomad.api
import requests
from nomad.api.exceptions import BaseNomadException
from requests.adapters import HTTPAdapter

from rock.wire.errors import LimitReached
from rock_nomad.agents import AgentToken, ssl_context
from rock_nomad.config import NomadConfig
from rock_nomad.nomad_errors import JobExists, Refused, translate, unreachable

__all__ = ["Answer", "Event", "EventBatch", "JobExists", "LogFrame", "Nomad", "Registration"]

WRITE_CONNECTIONS = 32
READ_CONNECTIONS = 31
LONG_POLLS = 24
"""Of the reads' connections; the rest are for reads that do not wait, and one for the event stream."""
LOG_STREAMS = 16
"""Connections beside those of the reads: a log that is followed takes one for as long as its reader likes."""

PAGE = 1000  # rows of a listing
_LEAST_WAIT = 0.01  # seconds; none at all would be Nomad's own five minutes
_HEARTBEAT_LIMIT = 75.0  # seconds without a word; Nomad says one every 30
_LOG_SILENCE = 30.0  # seconds; of a log that is followed Nomad says a word every second

_T = TypeVar("_T")
_Row = dict[str, Any]


class Answer(msgspec.Struct, Generic[_T], frozen=True, kw_only=True):
    """A reply of Nomad's."""

    data: _T
    index: int
    """To be passed to a blocking query, which then waits for what is newer."""
    date: float
    """Unix seconds by Nomad's clock, from the Date header: whole seconds."""


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """What came of registering a job."""

    eval_id: str
    job_modify_index: int
    warnings: str
    index: int
    date: float


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One event of the stream.  `payload` holds the object under its topic's name."""

    topic: str
    type: str = ""
    key: str = ""
    index: int = 0
    payload: dict[str, Any] = {}


class EventBatch(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The events of one index; none in a heartbeat."""

    index: int = 0
    events: list[Event] = []


class LogFrame(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A piece of a task's log; without data it is the heartbeat of one that is followed."""

    data: bytes = b""


class Nomad:
    """A Nomad agent, in one namespace.  An async context manager: it belongs to the loop that entered it.

    Every method raises ClusterUnavailable when Nomad does not answer, or does not let us.
    """

    def __init__(self, config: NomadConfig, *, namespace: str = "default", region: str | None = None) -> None:
        self._url = config.url.rstrip("/")
        self._config = config
        self._token = AgentToken(config)
        self._scope = {"namespace": namespace, **({"region": region} if region else {})}
        self._threads = ThreadPoolExecutor(WRITE_CONNECTIONS, thread_name_prefix="nomad")
        self._writes = _requests_session(config)
        endpoint = {"address": self._url, "session": self._writes, "timeout": config.timeout}
        # Given whole, because python-nomad's front reads the environment for what is missing and does not verify TLS.
        endpoint["verify"] = self._writes.verify
        endpoint["cert"] = self._writes.cert
        self._job = nomad.api.Job(**endpoint)
        self._validate = nomad.api.Validate(**endpoint)
        self._variable = nomad.api.Variable(**endpoint)
        self._polls = asyncio.Semaphore(LONG_POLLS)
        self._glances = asyncio.Semaphore(READ_CONNECTIONS - LONG_POLLS - 1)
        self._logs = asyncio.Semaphore(LOG_STREAMS)
        self._reads: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Nomad:
        ssl_or_default = ssl_context(self._config) if self._url.startswith("https:") else True
        connector = aiohttp.TCPConnector(limit=READ_CONNECTIONS + LOG_STREAMS, ssl=ssl_or_default)
        self._reads = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        if self._reads is not None:
            await self._reads.close()
        # A write that is under way ends by its own timeout; nobody waits for it.
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._writes.close()

    # -------------------------------------------------------------------------------------------------------- writes

    async def register(self, job: Mapping[str, Any], *, enforce_index: int = 0) -> Registration:
        """Register a job: a new one, or in place of the one whose JobModifyIndex is `enforce_index`.

        Raises JobExists: it is there already, or in another version.  InvalidRequest: Nomad cannot run such a job.
        """
        body = {"Job": job, "EnforceIndex": True, "JobModifyIndex": enforce_index}
        try:
            answer = await self._write(self._job, _segment(job["ID"]), method="post", json=body)
        except Refused as refused:
            if "Enforcing job modify index" in refused.text:
                raise JobExists(job["ID"], refused.text.strip()) from refused
            raise translate(refused, self._url) from refused
        return Registration(
            eval_id=answer.data.get("EvalID", ""),
            job_modify_index=answer.data.get("JobModifyIndex", 0),
            warnings=answer.data.get("Warnings", ""),
            index=answer.index,
            date=answer.date,
        )

    async def plan(self, job: Mapping[str, Any]) -> Answer[_Row]:
        """What Nomad would do with a job now: a real pass of its scheduler, that changes nothing."""
        return await self._ask(self._job, _segment(job["ID"]), "plan", method="post", json={"Job": job, "Diff": False})

    async def validate(self, job: Mapping[str, Any]) -> Answer[_Row]:
        """What Nomad finds wrong with a job: `ValidationErrors`, or none."""
        return await self._ask(self._validate, "job", method="post", json={"Job": job})

    async def stop(self, job_id: str, *, purge: bool = False) -> str | None:
        """Deregister a job, however often: the id of the evaluation that ends it, or None if there is no such job."""
        params = {"purge": "true"} if purge else {}
        answer = await self._ask(self._job, _segment(job_id), method="delete", params=params)
        return answer.data.get("EvalID") or None

    async def create_variable(self, path: str, items: Mapping[str, str], *, enforce_index: int = 0) -> bool:
        """Write a Nomad variable where there is none, or over the one of that ModifyIndex; False: there is another."""
        cas = {"cas": str(enforce_index)}
        try:
            await self._write(self._variable, path, method="put", json=_variable(path, items), params=cas)
        except Refused as refused:
            if refused.status == 409:
                return False
            raise translate(refused, self._url) from refused
        return True

    async def put_variable(self, path: str, items: Mapping[str, str]) -> None:
        """Write a Nomad variable over whatever is there."""
        await self._ask(self._variable, path, method="put", json=_variable(path, items))

    async def delete_variable(self, path: str) -> None:
        """Forget a Nomad variable, whether it is there or not."""
        await self._ask(self._variable, path, method="delete")

    # --------------------------------------------------------------------------------------------------------- reads

    async def job(self, job_id: str, *, index: int = 0, wait: float = 0.0) -> Answer[_Row] | None:
        """A job, or None; with an index, as soon as it is newer than that, or after `wait` seconds."""
        return await self._find(f"job/{_segment(job_id)}", _polling(index, wait))

    async def allocations(self, job_id: str, *, index: int = 0, wait: float = 0.0) -> Answer[list[_Row]]:
        """A job's allocations, as lines of a listing with their task states."""
        return await self._get(f"job/{_segment(job_id)}/allocations", _polling(index, wait))

    async def evaluations(self, job_id: str) -> Answer[list[_Row]]:
        """A job's evaluations."""
        return await self._get(f"job/{_segment(job_id)}/evaluations", {})

    async def allocation(self, alloc_id: str) -> Answer[_Row] | None:
        """One allocation, whole: with its devices and its states in the past; or None."""
        return await self._find(f"allocation/{_segment(alloc_id)}", {})

    async def evaluation(self, eval_id: str, *, index: int = 0, wait: float = 0.0) -> Answer[_Row] | None:
        """An evaluation, or None; with an index, as soon as it is newer than that, or after `wait` seconds."""
        return await self._find(f"evaluation/{_segment(eval_id)}", _polling(index, wait))

    async def list_jobs(self, prefix: str = "") -> Answer[list[_Row]]:
        """All jobs whose id begins so, with their meta."""
        return await self._list("jobs", {"prefix": prefix, "meta": "true"})

    async def list_allocations(self) -> Answer[list[_Row]]:
        """All allocations of the namespace, with their task states."""
        return await self._list("allocations", {"task_states": "true"})

    async def list_evaluations(self, *, status: str | None = None) -> Answer[list[_Row]]:
        """All evaluations of the namespace, or those of one status, such as `blocked`."""
        return await self._list("evaluations", {"status": status} if status else {})

    async def list_variables(self, prefix: str) -> Answer[list[_Row]]:
        """The paths and times, not the items, of all variables whose path begins so."""
        return await self._list("vars", {"prefix": prefix})

    async def nodes(self) -> Answer[list[_Row]]:
        """All nodes, whatever their status, with their drivers, resources and devices."""
        return await self._get("nodes", {"resources": "true", "stale": "true"})

    async def node(self, node_id: str) -> Answer[_Row] | None:
        """One node, whole: with all its attributes; or None."""
        return await self._find(f"node/{_segment(node_id)}", {})

    async def node_clock(self, node_id: str) -> float:
        """Unix seconds by a node's own clock, as it last looked at itself: up to a second ago."""
        stats = await self._get("client/stats", {"node_id": node_id})
        return float(stats.data["Timestamp"]) / 1e9

    async def agent(self) -> Answer[_Row]:
        """The agent that answers us: `config.Version` and who it is."""
        return await self._get("agent/self", {})

    async def scheduler(self) -> Answer[_Row]:
        """How the servers schedule: `SchedulerConfig`."""
        return await self._get("operator/scheduler/configuration", {})

    async def events(self, topics: Sequence[str], *, index: int = 0) -> AsyncIterator[EventBatch]:
        """The event stream from an index on, heartbeats included; the first batch is empty and says that it is open.

        `topics` are such as "Job" or "Allocation:<job id>".  Nomad keeps only so many events and starts at the nearest,
        telling nobody: whoever opens the stream looks at the state again.  It ends when Nomad closes it.
        """
        params = [*self._scope.items(), ("index", str(index)), *(("topic", topic) for topic in topics)]
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._config.timeout, sock_read=_HEARTBEAT_LIMIT)
        try:
            async with self._session.get(
                f"{self._url}/v1/event/stream", params=params, headers=self._headers(), timeout=timeout
            ) as response:
                if response.status != 200:
                    raise translate(Refused(response.status, await response.text(), "GET event/stream"), self._url)
                yield EventBatch()
                async for line in _split(response.content, b"\n"):
                    yield _BATCH.decode(line or b"{}")
        except (aiohttp.ClientError, OSError, msgspec.DecodeError) as error:
            raise unreachable(self._config, error) from error

    async def log(self, alloc_id: str, task: str, stream: str, *, follow: bool) -> AsyncGenerator[LogFrame, None]:
        """What a task wrote on `stdout` or `stderr`, from the beginning, as far as its node keeps it.

        One that is followed never ends by itself, not even with its task; a heartbeat comes every second.

        Raises Refused(404): the task has not started, or its node keeps nothing of it any more.  LimitReached: too many
        logs are being read.
        """
        if self._logs.locked():
            raise LimitReached(
                f"{LOG_STREAMS} logs are being read through this gateway, and no more are at once; stop following one",
                details={"limit": LOG_STREAMS},
            )
        params = {**self._scope, "task": task, "type": stream, "follow": str(follow).lower()}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._config.timeout, sock_read=_LOG_SILENCE)
        url = f"{self._url}/v1/client/fs/logs/{_segment(alloc_id)}"
        try:
            async with (
                self._logs,
                self._session.get(url, params=params, headers=self._headers(), timeout=timeout) as response,
            ):
                if response.status != 200:
                    refused = Refused(response.status, await response.text(), "GET client/fs/logs")
                    raise refused if refused.status == 404 else translate(refused, self._url)
                async for part in _split(response.content, b"}"):
                    yield _LOG_FRAME.decode(part + b"}")
        except (aiohttp.ClientError, OSError, msgspec.DecodeError) as error:
            raise unreachable(self._config, error) from error

    # ------------------------------------------------------------------------------------------------------ plumbing

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._reads is None:
            raise RuntimeError("a Nomad is used inside `async with`")
        return self._reads

    def _headers(self) -> dict[str, str]:
        token = self._token.get()
        return {"X-Nomad-Token": token} if token else {}

    async def _ask(self, endpoint: Any, *path: str, **call: Any) -> Answer[_Row]:  # noqa: ANN401 - python-nomad's
        try:
            return await self._write(endpoint, *path, **call)
        except Refused as refused:
            raise translate(refused, self._url) from refused

    async def _write(self, endpoint: Any, *path: str, **call: Any) -> Answer[_Row]:  # noqa: ANN401 - python-nomad's
        """A call by python-nomad, in a thread.  Raises Refused, or ClusterUnavailable if nobody answers."""
        # Every call names the namespace: of itself python-nomad leaves it out on half of its endpoints.
        call["params"] = {**self._scope, **call.get("params", {})}
        send = partial(endpoint.request, *path, headers=self._headers(), **call)
        try:
            response: requests.Response = await asyncio.get_running_loop().run_in_executor(self._threads, send)
        except BaseNomadException as error:
            reply = error.nomad_resp
            if isinstance(reply, requests.Response):
                raise Refused(reply.status_code, reply.text, _call(reply.request)) from error
            raise unreachable(self._config, reply) from error
        data = self._decode(response.content) if response.content else {}  # what is deleted is answered by nothing
        return Answer(data=data, index=_index(response.headers), date=_date(response.headers))

    async def _get(self, path: str, params: Mapping[str, str]) -> Answer[Any]:
        status, headers, body = await self._fetch(path, params)
        if status != 200:
            raise translate(Refused(status, body.decode(errors="replace"), f"GET {path}"), self._url)
        return Answer(data=self._decode(body), index=_index(headers), date=_date(headers))

    async def _find(self, path: str, params: Mapping[str, str]) -> Answer[Any] | None:
        status, headers, body = await self._fetch(path, params)
        if status == 404:
            return None
        if status != 200:
            raise translate(Refused(status, body.decode(errors="replace"), f"GET {path}"), self._url)
        return Answer(data=self._decode(body), index=_index(headers), date=_date(headers))

    async def _list(self, path: str, params: Mapping[str, str]) -> Answer[list[_Row]]:
        """Every page of a listing, read from any server; its index and date are those of the first page."""
        rows: list[_Row] = []
        first: tuple[int, float] | None = None
        page = {**params, "stale": "true", "per_page": str(PAGE)}
        while True:
            status, headers, body = await self._fetch(path, page)
            if status != 200:
                raise translate(Refused(status, body.decode(errors="replace"), f"GET {path}"), self._url)
            first = first or (_index(headers), _date(headers))
            rows += self._decode(body) or []
            page["next_token"] = headers.get("X-Nomad-NextToken", "")
            if not page["next_token"]:
                return Answer(data=rows, index=first[0], date=first[1])

    def _decode(self, body: bytes) -> Any:  # noqa: ANN401 - JSON
        try:
            return msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            raise unreachable(self._config, f"what answers there does not speak JSON: {error}") from error

    async def _fetch(self, path: str, params: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        if "wait" not in params:
            # Outside of the timeout: that a crowd has to queue here is no silence of Nomad's.
            async with self._glances:
                return await self._fetch_now(path, params, self._config.timeout)
        loop = asyncio.get_running_loop()
        until = loop.time() + float(params["wait"].removesuffix("ms")) / 1000
        async with self._polls:
            # Nomad goes on serving, and counting, a query whose caller has given up: so it gets what is left to wait.
            wait = max(until - loop.time(), _LEAST_WAIT)
            # It adds up to a sixteenth, so that not all waiters return at once.
            limit = wait * 17 / 16 + self._config.timeout
            return await self._fetch_now(path, {**params, "wait": f"{int(wait * 1000)}ms"}, limit)

    async def _fetch_now(
        self, path: str, params: Mapping[str, str], limit: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            async with (
                asyncio.timeout(limit),
                self._session.get(
                    f"{self._url}/v1/{path}", params={**self._scope, **params}, headers=self._headers()
                ) as response,
            ):
                return response.status, response.headers, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(self._config, error) from error


_BATCH = msgspec.json.Decoder(EventBatch)
_LOG_FRAME = msgspec.json.Decoder(LogFrame)  # no field of a frame can hold a brace, so that one ends at the first


def _requests_session(config: NomadConfig) -> requests.Session:
    session = requests.Session()
    # The environment's proxies, netrc and CA bundle are meant for the outside, not for the cluster.
    session.trust_env = False
    session.verify = str(config.ca_file) if config.ca_file else True
    if config.cert_file is not None:
        session.cert = (str(config.cert_file), str(config.key_file)) if config.key_file else str(config.cert_file)
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=WRITE_CONNECTIONS, pool_block=True)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _call(request: requests.PreparedRequest) -> str:
    """A request as its method and path, below /v1/."""
    return f"{request.method} {request.path_url.removeprefix('/v1/')}"


def _segment(name: str) -> str:
    """A name as one step of a path, whatever is in it."""
    return quote(name, safe="")


def _variable(path: str, items: Mapping[str, str]) -> _Row:
    return {"Path": path, "Items": dict(items)}


def _polling(index: int, wait: float) -> dict[str, str]:
    # Without an index Nomad answers at once, whatever the wait.
    return {"index": str(index), "wait": f"{int(wait * 1000)}ms"} if index else {}


def _index(headers: Mapping[str, str]) -> int:
    index = headers.get("X-Nomad-Index", "0")
    return int(index) if index.isdecimal() else 0


def _date(headers: Mapping[str, str]) -> float:
    try:
        return parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return 0.0


async def _split(content: aiohttp.StreamReader, separator: bytes) -> AsyncIterator[bytes]:
    """Parts of any length; aiohttp's own lines are 64 KiB at most, and an event can be longer."""
    pending: list[bytes] = []
    async for chunk in content.iter_any():
        *complete, rest = chunk.split(separator)
        for part in complete:
            yield b"".join((*pending, part))
            pending = []
        pending.append(rest)
