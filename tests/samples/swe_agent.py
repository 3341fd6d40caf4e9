"""What SWE-agent does with a deployment, by swe-rex's own classes."""

import asyncio
import contextlib
import re
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from swerex.exceptions import (
    BashIncorrectSyntaxError,
    CommandTimeoutError,
    NonZeroExitCodeError,
    SessionDoesNotExistError,
)
from swerex.runtime.abstract import (
    BashAction,
    BashInterruptAction,
    CloseSessionRequest,
    Command,
    CommandResponse,
    CreateBashSessionRequest,
    ReadFileRequest,
    UploadRequest,
    WriteFileRequest,
)
from swerex.runtime.remote import RemoteRuntime

from rock.sdk.sandbox.config import SandboxConfig
from rock.swerex import RockDeployment


async def caught(awaitable):
    """The exception that it raises."""
    try:
        await awaitable
    except Exception as error:
        return error
    return None


async def sessions(runtime):
    await runtime.write_file(WriteFileRequest(path="start.sh", content="echo sourced; export B=2"))
    made = await runtime.create_session(CreateBashSessionRequest(startup_source=["start.sh"], startup_timeout=10))
    assert made.output == "sourced\n", made
    done = await runtime.run_in_session(BashAction(command="export A=1; cd /; echo ' exact '"))
    assert (done.output, done.exit_code) == (" exact \n", 0), done
    done = await runtime.run_in_session(BashAction(command="echo $A$B$PWD; false", check="silent"))
    assert (done.output, done.exit_code) == ("12/\n", 1), done
    error = await caught(runtime.run_in_session(BashAction(command="false", check="raise", error_msg="why")))
    assert type(error) is NonZeroExitCodeError and str(error).startswith("why: Command 'false' failed"), error
    error = await caught(runtime.run_in_session(BashAction(command="if (")))
    assert type(error) is BashIncorrectSyntaxError, error
    assert "syntax error" in error.extra_info["bash_stderr"], error.extra_info
    error = await caught(runtime.run_in_session(BashAction(command="true", session="other")))
    assert type(error) is SessionDoesNotExistError, error


async def dialogue(runtime):
    begun = await runtime.run_in_session(
        BashAction(command="python3 -q", is_interactive_command=True, expect=[r">>> "], timeout=20)
    )
    assert begun.expect_string == r">>> ", begun
    said = await runtime.run_in_session(
        BashAction(command="print(6 * 7)", is_interactive_command=True, expect=[r">>> "], timeout=20)
    )
    assert "42" in said.output, said
    await runtime.run_in_session(BashAction(command="quit()", is_interactive_quit=True, timeout=20))
    done = await runtime.run_in_session(BashAction(command="echo after"))
    assert done.output == "after\n", done


async def timeouts(runtime):
    error = await caught(runtime.run_in_session(BashAction(command="echo begun; sleep 60", timeout=0.5)))
    assert type(error) is CommandTimeoutError and "begun" in str(error), error
    done = await runtime.run_in_session(BashInterruptAction())
    assert done.exit_code == 0, done
    hung = asyncio.ensure_future(runtime.run_in_session(BashAction(command="echo hung; sleep 60", check="silent")))
    await asyncio.sleep(0.5)
    await runtime.run_in_session(BashInterruptAction())
    assert (await hung).output.startswith("hung"), await hung
    done = await runtime.run_in_session(BashAction(command="echo usable"))
    assert done.output == "usable\n", done
    error = await caught(runtime.execute(Command(command=["sleep", "60"], timeout=0.2)))
    assert type(error) is CommandTimeoutError, error


async def files(runtime, folder):
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "data").write_bytes(bytes(range(256)))
    (folder / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (folder / "run.sh").chmod(0o755)
    target = (await runtime.execute(Command(command="mktemp -d", shell=True))).stdout.strip() + "/new"
    await runtime.upload(UploadRequest(source_path=str(folder), target_path=target))
    counted = await runtime.execute(Command(command=f"wc -c < {target}/a/b/data; {target}/run.sh", shell=True))
    assert counted.stdout.split() == ["256", "ran"], counted
    await runtime.write_file(WriteFileRequest(path=f"{target}/x/y", content="text"))
    assert (await runtime.read_file(ReadFileRequest(path=f"{target}/x/y"))).content == "text"
    error = await caught(runtime.read_file(ReadFileRequest(path=f"{target}/none")))
    assert type(error) is FileNotFoundError, error


@contextlib.asynccontextmanager
async def lossy_line(url):
    """An address that leads to another, and loses the first reply to each request; and the ids of those that it lost."""
    lost = set()

    async def carry(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        request += await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", request)[1]))
        there, back = await asyncio.open_connection(url.hostname, url.port)
        back.write(request)
        reply = await there.read()  # to its end, for each request has a connection of its own
        back.close()
        request_id = re.search(rb"X-Request-ID: (\S+)", request)[1]
        if request_id in lost:
            writer.write(reply)
        lost.add(request_id)
        writer.close()

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{url.path}", lost


async def retries(runtime):
    """Two clients at once, each of whose calls is lost and sent again: each has run once."""
    count = (await runtime.execute(Command(command="mktemp", shell=True))).stdout.strip()
    async with lossy_line(urlsplit(runtime._api_url)) as (host, lost):
        clients = [RemoteRuntime(host=host, auth_token=runtime._config.auth_token, timeout=20) for _ in range(2)]

        async def append(client, number):
            command = Command(command=f"echo {number} >> {count}; echo did {number}", shell=True)
            # The public calls never try again; those who retry do it with this.
            return (await client._request("execute", command, CommandResponse, num_retries=2)).stdout

        numbers = range(10)
        said = await asyncio.gather(*(append(clients[number % 2], number) for number in numbers))
        assert said == [f"did {number}\n" for number in numbers], said
        assert len(lost) == len(numbers), lost
    ran = (await runtime.execute(Command(command=["cat", count]))).stdout.split()
    assert sorted(map(int, ran)) == list(numbers), ran


async def main():
    deployment = RockDeployment(SandboxConfig(image="python:3.11", memory="256m", cpus=0.2))
    await deployment.start()
    try:
        assert await deployment.is_alive()
        runtime = deployment.runtime
        await sessions(runtime)
        await dialogue(runtime)
        await timeouts(runtime)
        await retries(runtime)
        with tempfile.TemporaryDirectory() as folder:
            await files(runtime, Path(folder))
        await runtime.close_session(CloseSessionRequest())
        await runtime.close()
        print("played", file=sys.stdout)
    finally:
        await deployment.stop()


asyncio.run(main())
