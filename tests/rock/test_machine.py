from __future__ import annotations

import asyncio
import socket

import pytest

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


def test_a_command_tells_how_it_ended_if_it_is_waited_for() -> None:
    assert run_command_with_output(["sh", "-c", "echo out; echo err >&2; exit 3"], wait=True) == (3, "out\n", "err\n")
    code, _, why = run_command_with_output(["/nothing/of/that/name"], wait=True) or (0, "", "")
    assert (code, "No such file" in why) == (-1, True)


async def test_shell_text_is_run() -> None:
    assert await run_shell_command("echo ' out '; echo err >&2; false") == (1, "out", "err")


@pytest.mark.parametrize(("output", "pid"), [("[1] 7\nPIDSTART4711PIDEND", 4711), ("PIDSTARTPIDEND", None), ("", None)])
def test_the_id_of_a_background_command_is_read(output: str, pid: int | None) -> None:
    assert extract_nohup_pid(output) == pid


async def test_ports_are_free_and_given_once() -> None:
    ports = await asyncio.gather(*(find_free_port() for _ in range(20)))
    try:
        assert len(set(ports)) == 20
        with socket.socket() as server:
            server.bind(("", ports[0]))
    finally:
        for port in ports:
            release_port(port)
    release_port(1)


async def test_a_machine_without_free_ports_says_so() -> None:
    with pytest.raises(RuntimeError, match="no free port was found in 0 attempts"):
        await find_free_port(max_attempts=0)


def test_the_machine_has_a_name_and_an_id() -> None:
    assert get_host_name() == socket.gethostname()
    assert get_instance_id() == (get_pod_ip() or get_host_name())


def test_a_moment_is_told_in_rocks_time_zone_or_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROCK_TIME_ZONE", raising=False)
    assert get_iso8601_timestamp(0) == "1970-01-01T08:00:00+08:00"
    monkeypatch.setenv("ROCK_TIME_ZONE", "UTC")
    assert get_iso8601_timestamp(0) == "1970-01-01T00:00:00+00:00"
    assert get_iso8601_timestamp(0, "Europe/Berlin") == "1970-01-01T01:00:00+01:00"
    assert get_iso8601_timestamp().endswith("+00:00")
