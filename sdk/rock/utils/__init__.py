"""What ROCK's client offers beside sandboxes, at ROCK's path."""

from rock._absent import absent_names
from rock._importing import can_import_class, safe_import_class
from rock._machine import (
    extract_nohup_pid,
    find_free_port,
    get_instance_id,
    release_port,
    run_command_with_output,
    run_shell_command,
)
from rock._portal import run_until_complete
from rock._retries import retry_async, wait_until_alive
from rock._shared import (
    COMMAND_LOG,
    EAGLE_EYE_TRACE_ID,
    ENV_POOL,
    REQUEST_TIMEOUT_SECONDS,
    SANDBOX_ID,
    TRACE_ID,
    AsyncAtomicInt,
    AsyncSafeDict,
    get_executor,
    sandbox_id_ctx_var,
    trace_id_ctx_var,
)
from rock._timing import StageTimer, Timer, timeout

__all__ = [
    "COMMAND_LOG",
    "EAGLE_EYE_TRACE_ID",
    "ENV_POOL",
    "REQUEST_TIMEOUT_SECONDS",
    "SANDBOX_ID",
    "TRACE_ID",
    "AsyncAtomicInt",
    "AsyncSafeDict",
    "StageTimer",
    "Timer",
    "can_import_class",
    "extract_nohup_pid",
    "find_free_port",
    "get_executor",
    "get_instance_id",
    "release_port",
    "retry_async",
    "run_command_with_output",
    "run_shell_command",
    "run_until_complete",
    "safe_import_class",
    "sandbox_id_ctx_var",
    "timeout",
    "trace_id_ctx_var",
    "wait_until_alive",
]

__getattr__ = absent_names(__name__)
