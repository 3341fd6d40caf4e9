"""The machine that the client runs on, at ROCK's path."""

from rock._absent import absent_names
from rock._machine import (
    extract_nohup_pid,
    find_free_port,
    get_host_name,
    get_instance_id,
    get_iso8601_timestamp,
    get_pod_ip,
    release_port,
    run_command_with_output,
    run_shell_command,
)

__all__ = [
    "extract_nohup_pid",
    "find_free_port",
    "get_host_name",
    "get_instance_id",
    "get_iso8601_timestamp",
    "get_pod_ip",
    "release_port",
    "run_command_with_output",
    "run_shell_command",
]

__getattr__ = absent_names(__name__)
