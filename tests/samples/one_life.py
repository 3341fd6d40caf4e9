"""A sandbox's whole life with ROCK's client: sessions, commands, files, status, stop."""

import asyncio
import sys
from pathlib import Path

from rock.actions import Command, CreateBashSessionRequest, ReadFileRequest, WriteFileRequest
from rock.sdk.sandbox.client import Sandbox
from rock.sdk.sandbox.config import SandboxConfig

HERE = Path(sys.argv[1])


async def fails(awaited, *parts: str) -> None:
    """The call raises, and its text has these parts."""
    try:
        answer = await awaited
    except Exception as error:
        assert all(part in str(error) for part in parts), str(error)
    else:
        raise AssertionError(f"{answer} in place of an error with {parts}")


async def run_commands(sandbox: Sandbox) -> None:
    """What `arun` and `execute` bring back."""
    await sandbox.create_session(CreateBashSessionRequest(session="default", env_enable=True, env={"COLOUR": "red"}))
    await sandbox.create_session(CreateBashSessionRequest(session="default"))  # it is kept, with all that it has
    assert (await sandbox.arun("echo $COLOUR; cd /", session="default")).output == "red"
    assert (await sandbox.arun("pwd", session="default")).output == "/"
    assert (await sandbox.arun("echo alone")).output == "alone"
    await fails(sandbox.arun("echo no; false", session="default"), "failed with exit code 1", "no")
    done = await sandbox.execute(Command(command=["sh", "-c", "echo out; echo err >&2; exit 3"]))
    assert (done.stdout, done.stderr, done.exit_code) == ("out\n", "err\n", 3)
    absent = await sandbox.execute(Command(command=["no-such-program"]))
    assert absent.exit_code == -1
    assert "no-such-program" in absent.stderr


async def run_in_background(sandbox: Sandbox) -> None:
    """Commands that outlive their call: however they end, ROCK's client hears of it."""
    for command, output in (
        ("echo fine", "fine"),
        ("bash -c 'echo bad; exit 3'", "bad"),
        ("bash -c 'echo shot; kill -9 $$'", "shot"),
    ):
        done = await sandbox.arun(command, mode="nohup", session="default")
        assert (done.output, done.exit_code) == (output, 0), done
    late = await sandbox.arun("sleep 60", mode="nohup", wait_timeout=3)
    assert late.exit_code == 1, late
    assert "did not complete" in late.failure_reason, late


async def move_files(sandbox: Sandbox) -> None:
    """Texts, bytes and folders."""
    path = f"{HERE}/in the sandbox/text"
    assert (await sandbox.write_file(WriteFileRequest(content="a\nb", path=path))).success
    assert (await sandbox.read_file(ReadFileRequest(path=path))).content == "a\nb"
    for size in (1024, 2 * 2**20):
        (HERE / "bytes").write_bytes(bytes(range(256)) * (size // 256))
        sent = await sandbox.upload_by_path(str(HERE / "bytes"), f"{HERE}/arrived")
        assert sent.success, sent
        assert (HERE / "arrived").read_bytes() == (HERE / "bytes").read_bytes()
    (HERE / "folder" / "inner").mkdir(parents=True)
    (HERE / "folder" / "inner" / "leaf").write_text("leaf")
    moved = await sandbox.fs.upload_dir(HERE / "folder", f"{HERE}/moved")
    assert moved.exit_code == 0, moved
    assert (HERE / "moved" / "inner" / "leaf").read_text() == "leaf"


async def main() -> None:
    """All of it."""
    sandbox = Sandbox(SandboxConfig(memory="256m", cpus=0.1, startup_timeout=30, user_id="ann"))
    await sandbox.start()
    assert sandbox.host_name
    assert sandbox.host_ip
    status = await sandbox.get_status()
    assert (status.sandbox_id, status.state, status.is_alive, status.user_id) == (
        sandbox.sandbox_id,
        "running",
        True,
        "ann",
    )
    assert (await sandbox.is_alive()).is_alive
    await run_commands(sandbox)
    await run_in_background(sandbox)
    await move_files(sandbox)
    again = Sandbox(SandboxConfig())
    await again.attach(sandbox.sandbox_id)
    assert (again.config.image, again.config.cpus) == ("python:3.11", 0.1)
    await fails(sandbox.delete(), "running")
    await sandbox.stop()
    await fails(sandbox.get_status(), "stopped by request")
    assert (await sandbox.get_status(include_all_states=True)).state == "stopped"
    await fails(sandbox.restart(), "files do not survive a stop on Nomad")
    await sandbox.delete()
    await fails(sandbox.get_status(include_all_states=True), f"Sandbox {sandbox.sandbox_id} not found")


if __name__ == "__main__":
    asyncio.run(main())
