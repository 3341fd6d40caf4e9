"""The table of calls: each once, iterated by SDK, gateway and rocklet, so that they cannot drift.

An operation served by the rocklet is reached at its own path there, and at `/v1/sandboxes/{sandbox_id}` + the rest of
that path through any gateway.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar

import msgspec

from rock.wire import commands as c
from rock.wire import envs as e
from rock.wire import messages as m
from rock.wire import monitoring

__all__ = ["OPERATIONS", "PREFIX", "REQUEST_ID_HEADER", "SHA256_HEADER", "Operation"]

PREFIX = "/v1"
REQUEST_ID_HEADER = "X-Request-ID"
"""In every request and reply.  A call that is not idempotent is run once per id, however often it is sent."""
SHA256_HEADER = "X-Content-SHA256"

_Req = TypeVar("_Req", bound=msgspec.Struct)
_Res = TypeVar("_Res", bound=msgspec.Struct)


class Operation(msgspec.Struct, Generic[_Req, _Res], frozen=True, kw_only=True):
    """One call."""

    name: str
    """What it is called everywhere: in code, logs, metrics and errors."""
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    """With `{sandbox_id}` where the gateway serves a call about one sandbox."""
    request: type[_Req]
    result: type[_Res]
    served_by: Literal["gateway", "rocklet"]
    carries: Literal["json", "query", "upload", "download"] = "json"
    """Where the request's fields stand (body or query), and whether a body of bytes goes up or comes down."""
    idempotent: bool = False
    """Whether running it twice is the same as running it once; if not, it carries a request_id."""
    is_open: bool = False
    """Whether it is served without a token."""
    renews: bool = True
    """Whether it restarts the idle clock."""

    @property
    def gateway_path(self) -> str:
        """Its path at a gateway."""
        if self.served_by == "gateway":
            return self.path
        return f"{PREFIX}/sandboxes/{{sandbox_id}}{self.path.removeprefix(PREFIX)}"


CREATE_SANDBOX = Operation(
    name="create_sandbox",
    method="POST",
    path="/v1/sandboxes",
    request=m.CreateSandboxRequest,
    result=m.SandboxStatus,
    served_by="gateway",
)
LIST_SANDBOXES = Operation(
    name="list_sandboxes",
    method="GET",
    path="/v1/sandboxes",
    request=m.ListSandboxesRequest,
    result=m.SandboxList,
    served_by="gateway",
    carries="query",
    idempotent=True,
)
GET_SANDBOX = Operation(
    name="get_sandbox",
    method="GET",
    path="/v1/sandboxes/{sandbox_id}",
    request=m.GetSandboxRequest,
    result=m.SandboxStatus,
    served_by="gateway",
    carries="query",
    idempotent=True,
)
STOP_SANDBOX = Operation(
    name="stop_sandbox",
    method="POST",
    path="/v1/sandboxes/{sandbox_id}/stop",
    request=m.Empty,
    result=m.SandboxStatus,
    served_by="gateway",
    idempotent=True,
)
DELETE_SANDBOX = Operation(
    name="delete_sandbox",
    method="DELETE",
    path="/v1/sandboxes/{sandbox_id}",
    request=m.Empty,
    result=m.Empty,
    served_by="gateway",
    carries="query",
    idempotent=True,
)
RESOLVE_ROCKLET = Operation(
    name="resolve_rocklet",
    method="GET",
    path="/v1/sandboxes/{sandbox_id}/rocklet",
    request=m.Empty,
    result=m.RockletEndpoint,
    served_by="gateway",
    carries="query",
    idempotent=True,
)
READ_LOG = Operation(
    name="read_log",
    method="GET",
    path="/v1/sandboxes/{sandbox_id}/log",
    request=monitoring.ReadLogRequest,
    result=m.Empty,
    served_by="gateway",
    carries="download",
    idempotent=True,
)
RENDER_JOB = Operation(
    name="render_job",
    method="POST",
    path="/v1/render",
    request=m.CreateSandboxRequest,
    result=m.RenderedJob,
    served_by="gateway",
    idempotent=True,
)
PLAN_SANDBOX = Operation(
    name="plan_sandbox",
    method="POST",
    path="/v1/plan",
    request=m.CreateSandboxRequest,
    result=m.Plan,
    served_by="gateway",
    idempotent=True,
)
GET_CLUSTER = Operation(
    name="get_cluster",
    method="GET",
    path="/v1/cluster",
    request=m.Empty,
    result=m.ClusterInfo,
    served_by="gateway",
    carries="query",
    idempotent=True,
)

IS_ALIVE = Operation(
    name="is_alive",
    method="GET",
    path="/is_alive",
    request=m.Empty,
    result=m.RockletStatus,
    served_by="rocklet",
    carries="query",
    idempotent=True,
    is_open=True,
    renews=False,
)
GET_CLOCKS = Operation(
    name="get_clocks",
    method="GET",
    path="/v1/clocks",
    request=m.Empty,
    result=m.Clocks,
    served_by="rocklet",
    carries="query",
    idempotent=True,
    renews=False,
)
GET_STATISTICS = Operation(
    name="get_statistics",
    method="GET",
    path="/v1/statistics",
    request=m.Empty,
    result=monitoring.Statistics,
    served_by="rocklet",
    carries="query",
    idempotent=True,
    renews=False,
)
RENEW_IDLE = Operation(
    name="renew_idle",
    method="POST",
    path="/v1/renew",
    request=m.Empty,
    result=m.Clocks,
    served_by="rocklet",
    idempotent=True,
    renews=False,  # it does so itself, so that its answer has the new deadline
)
RENEW_LEASE = Operation(
    name="renew_lease",
    method="POST",
    path="/v1/lease",
    request=m.RenewLeaseRequest,
    result=m.Clocks,
    served_by="rocklet",
    idempotent=True,
)
CREATE_SESSION = Operation(
    name="create_session",
    method="POST",
    path="/v1/sessions",
    request=m.CreateSessionRequest,
    result=m.Session,
    served_by="rocklet",
)
LIST_SESSIONS = Operation(
    name="list_sessions",
    method="GET",
    path="/v1/sessions",
    request=m.Empty,
    result=m.SessionList,
    served_by="rocklet",
    carries="query",
    idempotent=True,
)
RUN_IN_SESSION = Operation(
    name="run_in_session",
    method="POST",
    path="/v1/sessions/run",
    request=m.RunRequest,
    result=m.Observation,
    served_by="rocklet",
)
INTERRUPT_SESSION = Operation(
    name="interrupt_session",
    method="POST",
    path="/v1/sessions/interrupt",
    request=m.InterruptRequest,
    result=m.Observation,
    served_by="rocklet",
)
CLOSE_SESSION = Operation(
    name="close_session",
    method="POST",
    path="/v1/sessions/close",
    request=m.SessionRequest,
    result=m.Empty,
    served_by="rocklet",
)
EXECUTE = Operation(
    name="execute",
    method="POST",
    path="/v1/execute",
    request=m.ExecuteRequest,
    result=m.CommandOutput,
    served_by="rocklet",
)
START_COMMAND = Operation(
    name="start_command",
    method="POST",
    path="/v1/commands",
    request=c.StartCommandRequest,
    result=c.CommandStatus,
    served_by="rocklet",
)
START_IN_SESSION = Operation(
    name="start_in_session",
    method="POST",
    path="/v1/sessions/start",
    request=c.StartInSessionRequest,
    result=c.CommandStatus,
    served_by="rocklet",
)
LIST_COMMANDS = Operation(
    name="list_commands",
    method="GET",
    path="/v1/commands",
    request=m.Empty,
    result=c.CommandList,
    served_by="rocklet",
    carries="query",
    idempotent=True,
)
FOLLOW_COMMAND = Operation(
    name="follow_command",
    method="GET",
    path="/v1/commands/output",
    request=c.FollowCommandRequest,
    result=m.Empty,
    served_by="rocklet",
    carries="download",
    idempotent=True,
)
WAIT_COMMAND = Operation(
    name="wait_command",
    method="POST",
    path="/v1/commands/wait",
    request=c.WaitCommandRequest,
    result=c.CommandStatus,
    served_by="rocklet",
    idempotent=True,
)
SEND_INPUT = Operation(
    name="send_input",
    method="POST",
    path="/v1/commands/input",
    request=c.CommandInput,
    result=c.CommandStatus,
    served_by="rocklet",
)
SIGNAL_COMMAND = Operation(
    name="signal_command",
    method="POST",
    path="/v1/commands/signal",
    request=c.CommandSignal,
    result=c.CommandStatus,
    served_by="rocklet",
)
CLOSE_COMMAND = Operation(
    name="close_command",
    method="POST",
    path="/v1/commands/close",
    request=c.CommandRequest,
    result=c.CommandStatus,
    served_by="rocklet",
)
WAIT_PROCESS = Operation(
    name="wait_process",
    method="POST",
    path="/v1/processes/wait",
    request=m.WaitProcessRequest,
    result=m.ProcessEnd,
    served_by="rocklet",
    idempotent=True,
)
MAKE_ENV = Operation(
    name="make_env",
    method="POST",
    path="/v1/envs",
    request=e.MakeEnvRequest,
    result=e.Env,
    served_by="rocklet",
)
RESET_ENV = Operation(
    name="reset_env",
    method="POST",
    path="/v1/envs/reset",
    request=e.ResetEnvRequest,
    result=e.EnvStart,
    served_by="rocklet",
)
STEP_ENV = Operation(
    name="step_env",
    method="POST",
    path="/v1/envs/step",
    request=e.StepEnvRequest,
    result=e.EnvStep,
    served_by="rocklet",
)
CLOSE_ENV = Operation(
    name="close_env",
    method="POST",
    path="/v1/envs/close",
    request=e.EnvRequest,
    result=m.Empty,
    served_by="rocklet",
)
LIST_ENVS = Operation(
    name="list_envs",
    method="GET",
    path="/v1/envs",
    request=m.Empty,
    result=e.EnvList,
    served_by="rocklet",
    carries="query",
    idempotent=True,
)
READ_FILE = Operation(
    name="read_file",
    method="POST",
    path="/v1/files/read",
    request=m.ReadFileRequest,
    result=m.FileContent,
    served_by="rocklet",
    idempotent=True,
)
WRITE_FILE = Operation(
    name="write_file",
    method="POST",
    path="/v1/files/write",
    request=m.WriteFileRequest,
    result=m.FileFacts,
    served_by="rocklet",
    idempotent=True,
)
UPLOAD = Operation(
    name="upload",
    method="PUT",
    path="/v1/files",
    request=m.UploadRequest,
    result=m.FileFacts,
    served_by="rocklet",
    carries="upload",
    idempotent=True,
)
DOWNLOAD = Operation(
    name="download",
    method="GET",
    path="/v1/files",
    request=m.DownloadRequest,
    result=m.Empty,
    served_by="rocklet",
    carries="download",
    idempotent=True,
)
PACK = Operation(
    name="pack",
    method="GET",
    path="/v1/archive",
    request=m.ArchiveRequest,
    result=m.Empty,
    served_by="rocklet",
    carries="download",
    idempotent=True,
)
UNPACK = Operation(
    name="unpack",
    method="PUT",
    path="/v1/archive",
    request=m.UnpackRequest,
    result=m.Unpacked,
    served_by="rocklet",
    carries="upload",
    idempotent=True,
)
CANCEL = Operation(
    name="cancel",
    method="POST",
    path="/v1/cancel",
    request=m.CancelRequest,
    result=m.CancelResult,
    served_by="rocklet",
    idempotent=True,
)
CLOSE_ROCKLET = Operation(
    name="close_rocklet",
    method="POST",
    path="/v1/close",
    request=m.Empty,
    result=m.Empty,
    served_by="rocklet",
    idempotent=True,
)

OPERATIONS: MappingProxyType[str, Operation[Any, Any]] = MappingProxyType(
    {operation.name: operation for operation in list(globals().values()) if isinstance(operation, Operation)}
)
"""Every operation by its name."""
