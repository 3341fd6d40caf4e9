"""How a trainer drives sandboxes: a fresh loop per call, from threads, background jobs by hand, calls given up."""

import asyncio
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from rock.actions import BashAction, CreateBashSessionRequest
from rock.sdk.sandbox.client import Sandbox
from rock.sdk.sandbox.config import SandboxConfig

HERE = sys.argv[1]
JOB_SECONDS = 5
PATIENCE = 2  # seconds until a command that hangs is given up


def call(awaited):
    """One call, in a loop of its own."""
    return asyncio.run(awaited)


def run(sandbox: Sandbox, command: str):
    """A command in the trainer's session."""
    return call(sandbox.run_in_session(BashAction(session="default", command=command, check="silent")))


def run_a_job_by_hand(sandbox: Sandbox) -> None:
    """Its pid is read from bash's job notice; then it is looked after until it has ended."""
    script = f"for i in $(seq {JOB_SECONDS}); do echo line $i; sleep 1; done"
    file = f"{HERE}/job-{threading.get_ident()}.out"
    began = run(sandbox, f"nohup bash -c '{script}' > {file} 2>&1 &")
    found = re.search(r"\[\d+\]\s+(\d+)$", began.output.strip().splitlines()[-1])
    assert found, began.output
    while run(sandbox, f"kill -0 {found[1]} 2>/dev/null && echo alive").output.endswith("alive"):
        time.sleep(0.5)
    read = run(sandbox, f"cat {file}").output
    # Bash may tell of the job's end beside it, as it does with ROCK's own server.
    assert "\n".join(f"line {i + 1}" for i in range(JOB_SECONDS)) in read, read


def meet_a_syntax_error(sandbox: Sandbox) -> None:
    """It is told as such, and nothing of the command has run."""
    try:
        run(sandbox, f"touch {HERE}/touched-{threading.get_ident()}; done\n")
    except Exception as error:
        assert "/bin/bash: line 1: " in str(error), error
    else:
        raise AssertionError("no error")
    assert run(sandbox, f"ls {HERE}/touched-{threading.get_ident()}").exit_code != 0


async def give_up(sandbox: Sandbox) -> None:
    """A command that hangs is given up, and the session is there for the next try."""
    for _ in range(3):
        hanging = sandbox.run_in_session(BashAction(session="default", command="echo begun; sleep 600"))
        try:
            await asyncio.wait_for(hanging, PATIENCE)
        except TimeoutError:
            pass
        began = time.monotonic()
        done = await sandbox.run_in_session(BashAction(session="default", command="echo next"))
        assert (done.output, time.monotonic() - began < 2) == ("next", True), done


def work(results: list[str]) -> None:
    """One worker's episode."""
    sandbox = Sandbox(SandboxConfig(memory="128m", cpus=0.1, startup_timeout=60))
    call(sandbox.start())
    assert sandbox.host_ip
    call(sandbox.create_session(CreateBashSessionRequest(session="default")))
    run_a_job_by_hand(sandbox)
    meet_a_syntax_error(sandbox)
    call(give_up(sandbox))
    # `head` of a file is how a trainer bounds what it reads; not a byte may be missing, nor one too many.
    run(sandbox, f"head -c 10485760 /dev/zero | tr '\\0' x > {HERE}/large-{threading.get_ident()}")
    large = run(sandbox, f"head -c 10485760 {HERE}/large-{threading.get_ident()}")
    assert large.output == "x" * 10485760
    call(sandbox.stop())
    results.append("done")


def main() -> None:
    """Two workers, in threads."""
    results: list[str] = []
    with ThreadPoolExecutor(2) as workers:
        for future in [workers.submit(work, results) for _ in range(2)]:
            future.result()
    assert results == ["done", "done"]


if __name__ == "__main__":
    main()
