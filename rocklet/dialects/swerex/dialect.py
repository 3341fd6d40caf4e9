"""SWE-ReX's server: its routes, its key, its envelope for errors."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping
from typing import BinaryIO

import msgspec
from aiohttp import BodyPartReader, web

from rock.wire import codec
from rock.wire.errors import InvalidRequest, RockException
from rock.wire.messages import UploadRequest
from rocklet.actions import Call, Reply
from rocklet.auth import is_token
from rocklet.config import Settings
from rocklet.dialects.body import JsonResponse, invalid_header, read_json_body
from rocklet.dialects.swerex import messages as swerex
from rocklet.dialects.swerex.calls import CALLS, Perform
from rocklet.dialects.swerex.faults import SwerexFault, transfer
from rocklet.engine import Engine
from rocklet.faults import explain_fault
from rocklet.files import explained

__all__ = ["PREFIX", "SwerexDialect"]

PREFIX = "/swerex"
"""Below it the dialect is always served; `--dialect swerex` puts it at the root."""

_FAULT = 511  # the status of every exception on SWE-ReX's wire
_KEY_HEADER = "X-API-Key"
_REQUEST_ID_HEADER = "X-Request-ID"
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_GREETINGS: Mapping[str, msgspec.Struct] = {"": swerex.Greeting(), "is_alive": swerex.IsAlive()}
_SLASHES = re.compile("/+")
_CHUNK = 2**18  # bytes
_FIELDS = frozenset({"target_path", "unzip"})
_FIELD_LIMIT = 4096  # bytes of a form's field that is no file


class SwerexDialect:
    """Requests in, engine calls, replies out."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            self._check_key(request.headers.get(_KEY_HEADER))
            return await self._answer(request)
        except web.HTTPException as error:
            return _to_response(Reply(status=error.status, body=msgspec.json.encode({"detail": error.text})))
        except InvalidRequest as error:
            return _to_response(_invalid(error))
        except ConnectionError:  # the caller is gone, and aiohttp knows
            raise
        except (SwerexFault, RockException) as error:
            return _to_response(_failure(error))
        except Exception as fault:  # noqa: BLE001 - the outermost edge: nobody else would tell the caller
            request_id = request.headers.get(_REQUEST_ID_HEADER, "(none)")
            return _to_response(_failure(explain_fault(fault, request_id)))

    def _check_key(self, key: str | None) -> None:
        """Before any route is looked for.  Without a key it is 403, as SWE-ReX's own tests demand."""
        if key is None:
            raise web.HTTPForbidden(text="Not authenticated")
        if not is_token(key, self._settings.token_sha256):
            raise web.HTTPUnauthorized(text="Invalid API Key")

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        name = _SLASHES.sub("/", request.path).removeprefix(PREFIX).strip("/")
        known = "GET" if name in _GREETINGS else "POST" if name in CALLS or name == "upload" else None
        if known is None:
            raise web.HTTPNotFound(text="Not Found")
        if request.method != known:
            raise web.HTTPMethodNotAllowed(request.method, [known], text="Method Not Allowed")
        if name in _GREETINGS:
            return _to_response(Reply(status=200, body=codec.encode(_GREETINGS[name])))
        if name == "upload":
            with self._engine.in_use():
                return _to_response(await self._upload(request))
        return _to_response(await self._call(name, request))

    async def _call(self, name: str, request: web.BaseRequest) -> Reply:
        """Serve a call once, however often it is sent with the same request id, and by however many clients."""
        kind, perform = CALLS[name]
        body = await read_json_body(request, self._settings.body_bytes)
        message = codec.decode(kind, body)
        given = request.headers.get(_REQUEST_ID_HEADER, "")
        is_named = _REQUEST_ID.fullmatch(given) is not None

        async def run(call: Call) -> Reply:
            return await self._perform(perform, message, call)

        fingerprint = hashlib.blake2b(body, digest_size=16, person=name.encode()[:16]).digest()
        request_id = f"swerex-{given}" if is_named else secrets.token_hex(16)
        return await self._engine.actions.run(request_id, fingerprint, run, is_named=is_named)

    async def _perform(self, perform: Perform, message: msgspec.Struct, call: Call) -> Reply:
        """Let the engine do it; its errors are replies like others, to be replayed like others."""
        try:
            with self._engine.in_use():
                return Reply(status=200, body=codec.encode(await perform(self._engine, message, call)))
        except InvalidRequest as error:
            return _invalid(error)
        except (SwerexFault, RockException) as error:
            return _failure(error)
        except Exception as fault:  # noqa: BLE001 - the outermost edge of an action's task
            return _failure(explain_fault(fault, call.request_id))

    async def _upload(self, request: web.BaseRequest) -> Reply:
        """A form, the file first as its client writes it: kept on disk until the target is known."""
        fields: dict[str, str] = {}
        with tempfile.TemporaryFile(buffering=0) as file:
            async for part in _parts(request):
                if part.name == "file":
                    while chunk := await part.read_chunk(_CHUNK):
                        await asyncio.to_thread(_spool, chunk, file)
                elif part.name in _FIELDS:
                    fields[part.name] = await _read_field(part)
            file.seek(0)
            await self._place(file, fields)
        return Reply(status=200, body=b"{}")

    async def _place(self, file: BinaryIO, fields: Mapping[str, str]) -> None:
        if "target_path" not in fields:
            raise _bad_form("it has no field target_path")
        target = os.path.join(self._engine.home, fields["target_path"])
        if fields.get("unzip") == "true":
            from rocklet.zips import ZipLimits, unzip  # zipfile takes some milliseconds that no other call needs

            limits = ZipLimits(files=self._settings.archive_files, unpacked_bytes=self._settings.archive_bytes)
            await asyncio.to_thread(unzip, file, target, limits)
        else:
            await self._engine.upload(codec.convert(UploadRequest, {"path": target}), Call(""), _chunks(file))


async def _parts(request: web.BaseRequest) -> AsyncIterator[BodyPartReader]:
    """The parts of a form.  Raises InvalidRequest: it is none, or it breaks off."""
    if request.content_type != "multipart/form-data":
        raise invalid_header("Content-Type", request.headers.get("Content-Type", ""), "multipart/form-data")
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise _bad_form("one of its parts is a form itself")
            yield part
    except ValueError as error:
        raise _bad_form(str(error)) from error


async def _read_field(part: BodyPartReader) -> str:
    data = b""
    while chunk := await part.read_chunk(_FIELD_LIMIT):
        data += chunk
        if len(data) > _FIELD_LIMIT:
            raise _bad_form(f"its field {part.name!r} has more than {_FIELD_LIMIT} bytes")
    return data.decode("utf-8", "surrogateescape")


def _spool(data: bytes, file: BinaryIO) -> None:
    """Keep a part of a body until its target is known.  Raises FileAccess."""
    view = memoryview(data)
    with explained(tempfile.gettempdir()):
        while view:
            view = view[file.write(view) :]


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, _CHUNK):
        yield chunk


def _bad_form(why: str) -> InvalidRequest:
    expected = "a form with file, target_path and unzip"
    return InvalidRequest(f"the form is wrong: {why}; send {expected}", details={"field": "$", "expected": expected})


def _invalid(error: InvalidRequest) -> Reply:
    """The reply to a request that does not fit, in the shape of FastAPI's."""
    field = str(error.details.get("field", "$"))
    fault = {"type": "value_error", "loc": ["body", field], "msg": error.message, "input": error.details.get("value")}
    return Reply(status=422, body=msgspec.json.encode({"detail": [fault]}))


def _failure(error: SwerexFault | RockException) -> Reply:
    return Reply(status=_FAULT, body=codec.encode(swerex.Failure(swerexception=transfer(error))))


def _to_response(reply: Reply) -> web.Response:
    return JsonResponse(reply.status, reply.body)
