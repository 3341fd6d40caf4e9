from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

from rock._requests import (
    BashAction,
    CloseBashSessionRequest,
    Command,
    CreateBashSessionRequest,
    ReadFileRequest,
    UploadRequest,
    WriteFileRequest,
)
from rock._sandbox import Sandbox
from rock._sandbox_config import SandboxConfig
from rock._sync import SyncSandbox
from rock.errors import NonZeroExitCode
from tests.rock.servers import WireServer

RENAMED = {"arun": "run", "close": "stop"}
LEFT_OUT = {
    *("cluster", "url"),
    # Only for ROCK's users, who have no such twin.
    *("archive", "commit", "commit_async", "get_commit_status", "restart"),
    *("handle_nohup_output", "run_nohup_and_wait", "start_nohup_process", "wait_for_process_completion"),
}


def test_it_has_every_call_of_its_twin() -> None:
    public = {name for name, _ in inspect.getmembers(Sandbox) if not name.startswith("_")}
    twin = {name for name, _ in inspect.getmembers(SyncSandbox) if not name.startswith("_")}
    assert {RENAMED.get(name, name) for name in public} - LEFT_OUT <= twin


@pytest.mark.parametrize("name", ["attach", "get_status", "create_session", "execute", "upload_by_path", "download"])
def test_its_signatures_are_its_twins(name: str) -> None:
    ours, twins = (inspect.signature(getattr(cls, name)) for cls in (SyncSandbox, Sandbox))
    assert list(ours.parameters.values()) == list(twins.parameters.values())


@pytest.mark.slow
async def test_its_calls_block_and_do_what_its_twins_do(gateway: WireServer, tmp_path: Path) -> None:
    config = SandboxConfig(base_url=gateway.url, api_key="secret", direct="always", sandbox_id="s1")
    # In another thread, because the gateway lives in this one's loop.
    await asyncio.to_thread(_use, SyncSandbox(config), tmp_path)


def _use(twin: SyncSandbox, tmp_path: Path) -> None:
    with twin as sandbox:
        assert (sandbox.sandbox_id, sandbox.host_name, sandbox.host_ip) == ("s1", "node-1", "10.0.0.7")
        assert sandbox.is_alive()
        assert sandbox.run("echo hi; exit 3", mode="nohup").exit_code == 3
        (tmp_path / "lines").write_text("1\n2\n3\n")
        assert sandbox.read_file_by_line_range(str(tmp_path / "lines"), 2, 2).content == "2\n"
        assert sandbox.get_status().state == "running"
        sandbox.create_session(CreateBashSessionRequest(session="work"))
        assert sandbox.run("echo hi", "work").output == "hi"
        with pytest.raises(NonZeroExitCode):
            sandbox.run("false", "work")
        assert sandbox.run_in_session(BashAction(command="(exit 3)", session="work", check="silent")).exit_code == 3
        sandbox.close_session(CloseBashSessionRequest(session="work"))
        assert sandbox.run("echo alone").output == "alone"
        assert sandbox.execute(Command(command=["echo", "x"])).stdout == "x\n"
        _use_files(sandbox, tmp_path)
        sandbox.renew_lease(60)
        sandbox.attach("s1")


def _use_files(sandbox: SyncSandbox, tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert sandbox.write_file(WriteFileRequest(content="c", path=str(path))).success
    assert sandbox.write_file_by_path("d", str(path)).success
    assert sandbox.read_file(ReadFileRequest(path=str(path))).content == "d"
    assert sandbox.upload(UploadRequest(source_path=str(path), target_path=f"{path}.up")).success
    assert sandbox.upload_by_path(path, f"{path}.up2").success
    assert sandbox.download(f"{path}.up2", tmp_path / "down").success
    assert (tmp_path / "down").read_text() == "d"


def test_it_shows_what_its_twin_shows() -> None:
    config = SandboxConfig(base_url="http://gateway:1", api_key="hidden")
    assert "hidden" not in repr(SyncSandbox(config))
    assert SyncSandbox(config).config is config
