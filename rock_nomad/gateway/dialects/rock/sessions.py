"""ROCK's calls about what happens in a sandbox: sessions, commands, files."""

from __future__ import annotations

import contextlib
from typing import Any

from aiohttp import BodyPartReader, MultipartReader, web

from rock.wire import messages as m
from rock.wire.errors import CommandFailed, InternalServerRockError, InvalidRequest, SessionNotFound, StartFailed
from rock.wire.operations import (
    CLOSE_SESSION,
    CREATE_SESSION,
    EXECUTE,
    READ_FILE,
    RUN_IN_SESSION,
    UPLOAD,
    WAIT_PROCESS,
    WRITE_FILE,
)
from rock_nomad.gateway.body import ReplayableBody
from rock_nomad.gateway.dialects.rock import quirks
from rock_nomad.gateway.dialects.rock.calls import Asked, RockCall
from rock_nomad.gateway.dialects.rock.replies import render_execution, render_observation, syntax_error
from rock_nomad.gateway.dialects.rock.requests import (
    CloseSessionRequest,
    CreateSessionRequest,
    ExecuteRequest,
    ReadFileRequest,
    RunRequest,
    WriteFileRequest,
    to_create_session,
    to_execute,
    to_run,
    wire,
)

__all__ = ["CALLS"]

_Json = dict[str, Any]
_MAX_FIELD = 8192  # bytes of a form's text field
_CHUNK = 64 * 1024  # bytes
_NO_NEWS = m.Observation(output="", exit_code=0)  # what `kill -0` says of a process that runs


async def _create_session(asked: Asked[CreateSessionRequest]) -> _Json:
    wanted = to_create_session(asked.request)
    session = await asked.perform(CREATE_SESSION, wanted, sandbox_id=asked.request.sandbox_id)
    return {"output": session.said(), "session_type": "bash"}


async def _close_session(asked: Asked[CloseSessionRequest]) -> _Json:
    wanted = wire(m.SessionRequest, session=asked.request.session)
    with contextlib.suppress(SessionNotFound):
        await asked.perform(CLOSE_SESSION, wanted, sandbox_id=asked.request.sandbox_id)
    return {"session_type": "bash"}


async def _run_in_session(asked: Asked[RunRequest]) -> _Json:
    pid = quirks.probed_process(asked.request.command)
    if pid is None:
        return await _run(asked)
    request = asked.request
    try:
        wanted = m.WaitProcessRequest(pid=pid, hold=quirks.PROBE_HOLD, only_announced=True)
        process = await asked.perform(WAIT_PROCESS, wanted, sandbox_id=request.sandbox_id)
        if process.is_watched:
            return render_observation(request, quirks.gone(pid) if process.has_ended else _NO_NEWS)
        # The shell's own notice of a job's end belongs to this command, not to the next, whose output may be a file's.
        return await _run(asked)
    except StartFailed:  # the whole sandbox is lost, and the process with it
        raise
    except InternalServerRockError:
        # Nobody knows, and any error would say that the process has ended.
        return render_observation(request, _NO_NEWS)


async def _run(asked: Asked[RunRequest]) -> _Json:
    request = asked.request
    try:
        observation = await asked.perform(RUN_IN_SESSION, to_run(request), sandbox_id=request.sandbox_id)
    except CommandFailed as error:
        if error.details.get("cause") != "syntax":
            raise
        raise syntax_error(request, str(error.details.get("output", ""))) from error
    return render_observation(request, observation)


async def _execute(asked: Asked[ExecuteRequest]) -> _Json:
    request = asked.request
    try:
        output = await asked.perform(EXECUTE, to_execute(request), sandbox_id=request.sandbox_id)
    except CommandFailed as error:
        output = m.CommandOutput(stdout="", stderr="", failure_reason=error.message)
    return render_execution(request, output)


async def _read_file(asked: Asked[ReadFileRequest]) -> _Json:
    request = asked.request
    wanted = wire(m.ReadFileRequest, path=request.path, encoding=request.encoding, errors=request.errors)
    file = await asked.perform(READ_FILE, wanted, sandbox_id=request.sandbox_id)
    return {"content": file.content.replace("\r\n", "\n").replace("\r", "\n")}


async def _write_file(asked: Asked[WriteFileRequest]) -> _Json:
    request = asked.request
    wanted = wire(m.WriteFileRequest, path=request.path, content=request.content)
    await asked.perform(WRITE_FILE, wanted, sandbox_id=request.sandbox_id)
    return {"success": True, "message": ""}


# --------------------------------------------------------------------------------------------------------- upload


async def _upload(asked: Asked[None]) -> _Json:
    """A form: where to, and behind that the file, which is passed on as it comes."""
    form = _form(asked.http)
    fields: dict[str, str] = {}
    while (part := await form.next()) is not None:
        if not isinstance(part, BodyPartReader):
            raise _unreadable("a form within a form")
        if part.name == "file":
            return await _pass_on(asked, part, fields)
        text = await part.read_chunk(_MAX_FIELD)
        fields[part.name or ""] = text.decode("utf-8", "replace")
    raise _missing("file")


async def _pass_on(asked: Asked[None], part: BodyPartReader, fields: dict[str, str]) -> _Json:
    for name in ("target_path", "sandbox_id"):
        if name not in fields:
            raise _missing(name)
    wanted = wire(m.UploadRequest, path=fields["target_path"])
    body = ReplayableBody(_PartSource(part))
    await asked.perform(UPLOAD, wanted, sandbox_id=fields["sandbox_id"], body=body)
    return {"success": True, "message": "", "file_name": part.filename or ""}


class _PartSource:
    """A part of a form as a source of bytes."""

    def __init__(self, part: BodyPartReader) -> None:
        self._part = part

    async def readany(self) -> bytes:
        """What has come in next."""
        return await self._part.read_chunk(_CHUNK)


def _form(http: web.Request) -> MultipartReader:
    if http.content_type != "multipart/form-data" or "boundary" not in http.headers.get("Content-Type", ""):
        raise _unreadable(http.headers.get("Content-Type", "")[:80])
    return MultipartReader(http.headers, http.content)


def _unreadable(said: str) -> InvalidRequest:
    expected = "multipart/form-data with target_path, sandbox_id and, last, file"
    return InvalidRequest(
        f"the body is {said!r}; it must be {expected}", details={"field": "$", "value": said, "expected": expected}
    )


def _missing(name: str) -> InvalidRequest:
    expected = "target_path and sandbox_id ahead of file"
    return InvalidRequest(
        f"the form has no {name} where it is needed; send {expected}",
        details={"field": name, "value": None, "expected": expected},
    )


CALLS: tuple[RockCall[Any], ...] = (
    RockCall("POST", "/create_session", CreateSessionRequest, _create_session, "create session failed"),
    RockCall("POST", "/run_in_session", RunRequest, _run_in_session, "run in session failed", is_long=True),
    RockCall("POST", "/close_session", CloseSessionRequest, _close_session, "close session failed"),
    RockCall("POST", "/execute", ExecuteRequest, _execute, "execute command failed", is_long=True),
    RockCall("POST", "/read_file", ReadFileRequest, _read_file, "read file failed"),
    RockCall("POST", "/write_file", WriteFileRequest, _write_file, "write file failed"),
    RockCall("POST", "/upload", None, _upload, "upload file failed"),
)
"""What ROCK offers of it; its source is rl-rock 1.11, `rock/admin/entrypoints`."""
