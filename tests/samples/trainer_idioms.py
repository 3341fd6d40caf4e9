"""How a trainer (ROLL) drives sandboxes: a fresh loop per call, from threads, jobs by hand, calls given up.

It prints what it was told, one JSON object per worker, so that two clients can be compared.
"""

import asyncio
import json
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from rock.actions import BashAction, CreateBashSessionRequest
from rock.sdk.sandbox.client import Sandbox
from rock.sdk.sandbox.config import SandboxConfig

HERE = sys.argv[1]
JOB_SECONDS = int(float(sys.argv[2]))
PATIENCE = float(sys.argv[3])  # seconds until a command that hangs is given up
TRIES = 3


def call(awaited):
    """One call, in a loop of its own."""
    return asyncio.run(awaited)


def run(sandbox: Sandbox, command: str, check: str = "silent"):
    """A command in the trainer's session."""
    return call(sandbox.run_in_session(BashAction(session="default", command=command, check=check)))


def run_a_job_by_hand(sandbox: Sandbox, mark: str) -> dict:
    """Its pid is read from bash's job notice; then it is looked after until it has ended, and read back whole."""
    script = f"for i in $(seq {JOB_SECONDS}); do echo line $i; sleep 1; done"
    file = f"{HERE}/job-{mark}.out"
    began = run(sandbox, f"nohup bash -c '{script}' < /dev/null > {file} 2>&1 &")
    found = re.match(r"\[\d+\]\s+(\d+)$", began.output.splitlines()[-1].strip())
    assert found, began.output
    started = time.monotonic()
    while run(sandbox, f"kill -0 {found[1]}").exit_code == 0:
        time.sleep(0.5)
    took = time.monotonic() - started
    read = run(sandbox, f"head -c 10485760 {file}")
    return {
        "began": began.exit_code,
        "in time": JOB_SECONDS - 1 < took < JOB_SECONDS + 5,
        "read": [read.exit_code, read.output.splitlines() == [f"line {i + 1}" for i in range(JOB_SECONDS)]],
    }


def meet_a_syntax_error(sandbox: Sandbox, mark: str) -> dict:
    """It is told as such, whatever is to be done about exit codes, and nothing of the command has run."""
    told = {}
    for check in ("silent", "raise"):
        try:
            run(sandbox, f"touch {HERE}/touched-{mark}; done\n", check)
        except Exception as error:
            told[check] = "/bin/bash: line 1: " in str(error)
        else:
            told[check] = "no error"
    return {**told, "touched": run(sandbox, f"ls {HERE}/touched-{mark}").exit_code == 0}


def fail(sandbox: Sandbox) -> dict:
    """A command with an exit code of its own."""
    silent = run(sandbox, "echo words; (exit 3)")
    try:
        run(sandbox, "echo words; (exit 3)", "raise")
    except Exception as error:
        told = all(part in str(error) for part in ("failed with exit code 3", "words"))
    else:
        told = "no error"
    return {"silent": [silent.output, silent.exit_code], "raise": told}


async def try_once(sandbox: Sandbox, command: str):
    """A command without a limit of its own, given up when it takes too long."""
    action = BashAction(session="default", command=command, timeout=None)
    return await asyncio.wait_for(sandbox.run_in_session(action), PATIENCE)


def try_again(sandbox: Sandbox, mark: str) -> dict:
    """A command hangs, is given up, and is tried again in the same session, where it is answered at once."""
    command = f"test -e {HERE}/tried-{mark} || {{ touch {HERE}/tried-{mark}; echo begun; sleep 600; }}; echo answered"
    for tried in range(TRIES):
        began = time.monotonic()
        try:
            done = call(try_once(sandbox, command))
        except asyncio.TimeoutError:
            continue
        return {"tries": tried + 1, "in time": time.monotonic() - began < 2, "output": done.output}
    return {"tries": TRIES, "output": None}


def read_much(sandbox: Sandbox, mark: str) -> dict:
    """`head` of a file is how a trainer bounds what it reads; not a byte may be missing, nor one too many."""
    run(sandbox, f"head -c 20000000 /dev/zero | tr '\\0' x > {HERE}/large-{mark}")
    large = run(sandbox, f"head -c 10485760 {HERE}/large-{mark}")
    return {"whole": large.output == "x" * 10485760, "exit_code": large.exit_code}


def work(results: list) -> None:
    """One worker's episode."""
    mark = threading.get_ident()
    sandbox = Sandbox(SandboxConfig(memory="128m", cpus=0.1, startup_timeout=60))
    call(sandbox.start())
    told = {"host_ip": bool(sandbox.host_ip), "host_name": bool(sandbox.host_name)}
    call(sandbox.create_session(CreateBashSessionRequest(session="default")))
    call(sandbox.create_session(CreateBashSessionRequest(session="default")))  # ROLL makes it again when it retries
    told["job"] = run_a_job_by_hand(sandbox, mark)
    told["syntax"] = meet_a_syntax_error(sandbox, mark)
    told["failure"] = fail(sandbox)
    told["hang"] = try_again(sandbox, mark)
    told["large"] = read_much(sandbox, mark)
    status = call(sandbox.get_status())
    told["status"] = [str(getattr(status.state, "value", status.state)), status.is_alive]
    told["stop"] = str(call(sandbox.stop()))
    results.append(told)


def main() -> None:
    """Two workers, in threads."""
    results: list = []
    with ThreadPoolExecutor(2) as workers:
        for future in [workers.submit(work, results) for _ in range(2)]:
            future.result()
    for told in results:
        print("told:", json.dumps(told, sort_keys=True))


if __name__ == "__main__":
    main()
