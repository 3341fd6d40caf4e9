"""Sessions through the whole rocklet: what users see."""

from __future__ import annotations

import asyncio
import os
import pwd
from pathlib import Path

import pytest

from rock.wire.errors import CommandFailed, FileNotFound, InvalidRequest, SessionBusy, SessionExists, SessionNotFound
from rock.wire.messages import (
    CreateSessionRequest,
    InterruptRequest,
    Observation,
    RunRequest,
    Session,
    SessionRequest,
)
from rock.wire.operations import (
    CLOSE_SESSION,
    CREATE_SESSION,
    GET_CLOCKS,
    INTERRUPT_SESSION,
    LIST_SESSIONS,
    RUN_IN_SESSION,
)
from tests.rocklet.callers import Caller

TIMED_OUT = 1.0  # seconds after which a command that never ends is ended


async def open_session(caller: Caller, name: str = "default", **options: object) -> Session:
    return await caller.call(CREATE_SESSION, CreateSessionRequest(session=name, **options))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------- exact answers


@pytest.mark.parametrize(
    ("command", "output", "exit_code"),
    [
        ("echo hi", "hi\n", 0),
        ("printf abc", "abc", 0),
        ("echo out; echo err >&2", "out\nerr\n", 0),
        ("false", "", 1),
        ("(exit 77)", "", 77),
        ("kill -9 $BASHPID & wait $!", None, 137),
        ("", "", 0),
        ("   ", "", 0),
        ("# only a comment", "", 0),
        ("echo a\necho b", "a\nb\n", 0),
        ("echo a\n\n\n", "a\n", 0),
        ("cat <<EOF\none $((1 + 1))\nEOF\necho after", "one 2\nafter\n", 0),
        ("cat <<'A' - <<B\n$x\nA\ny\nB\necho z", "y\nz\n", 0),
        ("echo 'it'\\''s' \"a\\\\b\" $'t\\tt'", "it's a\\b t\tt\n", 0),
        ("echo hello!; echo !!", "hello!\n!!\n", 0),
        ("echo a\\\nb", "ab\n", 0),
        ("for i in 1 2 3; do\n  echo $i\ndone | tac", "3\n2\n1\n", 0),
        ("f() { local x=1; return 4; }; f", "", 4),
        ("[[ abc == a* ]] && arr=(1 2 3) && echo ${#arr[@]}", "3\n", 0),
        ("echo 'ünï→日本'", "ünï→日本\n", 0),
        ("echo bash: line 1: | cat; ! true", "bash: line 1:\n", 1),
        ("tty >/dev/null && test -t 0 -a -t 1 -a -t 2 && echo terminal", "terminal\n", 0),
        ("stty size; echo $TERM", "24 80\ndumb\n", 0),
        ("yes | head -2", "y\ny\n", 0),
        ("echo $-", "himBs\n", 0),
        ("nosuchprogram", "bash: nosuchprogram: command not found\n", 127),
    ],
)
async def test_a_command_answers_exactly(bash: Caller, command: str, output: str | None, exit_code: int) -> None:
    done = await bash.run(command)
    assert done.exit_code == exit_code
    assert output is None or done.output == output
    assert (done.failure_reason, done.shell_restarted, done.timed_out) == ("", False, False)


@pytest.mark.parametrize(
    "command",
    ["echo 'x", 'echo "x', "echo `x", "if true; then", "(a", ")", "case x in", "done", "echo $((", "[[ a", "|"],
)
async def test_a_syntax_error_is_told_and_the_next_command_answers(bash: Caller, command: str) -> None:
    wrong = await bash.run(command)
    assert wrong.output.startswith("bash: ")
    assert wrong.exit_code
    assert (await bash.run("echo ok")).output == "ok\n"


async def test_every_byte_value_comes_back_as_it_was_printed(bash: Caller) -> None:
    done = await bash.run('for i in {0..255}; do printf "\\\\x$(printf %x $i)"; done')
    expected = bytes(range(256)).decode("utf-8", "backslashreplace")
    assert done.output == expected


async def test_variables_directory_functions_and_status_survive_between_calls(bash: Caller, tmp_path: Path) -> None:
    await bash.run(f"x='a b'; export y=2; cd {tmp_path}; greet() {{ echo \"hello $1\"; }}; alias up='echo UP'")
    assert (await bash.run('echo "$x$y"; pwd; greet you; up')).output == f"a b2\n{tmp_path}\nhello you\nUP\n"
    for status in (0, 1, 2, 130, 255):
        await bash.run(f"(exit {status})")
        assert (await bash.run("echo $?")).output == f"{status}\n"


@pytest.mark.slow
async def test_eight_megabytes_of_output_come_back_whole(bash: Caller) -> None:
    done = await bash.run("seq 1 1200000 | head -c 8000000")
    assert len(done.output) == 8_000_000
    assert done.output == "".join(f"{n}\n" for n in range(1, 1_200_001))[:8_000_000]
    assert done.cut_bytes == 0


async def test_output_beyond_the_cap_keeps_head_and_tail_and_says_what_was_cut(bash: Caller) -> None:
    done = await bash.run("echo first; head -c 100000 /dev/zero | tr '\\0' x; echo last", max_output_bytes=2048)
    assert done.output.startswith("first\nxxx")
    assert done.output.endswith("xxxlast\n")
    assert (len(done.output), done.cut_bytes) == (2048, 100_011 - 2048)


async def test_a_megabyte_of_command_text_runs(bash: Caller) -> None:
    done = await bash.run("x='" + "a\n" * 500_000 + "'; echo ${#x}")
    assert (done.output, done.exit_code) == ("1000000\n", 0)


async def test_commands_get_a_built_environment_and_never_the_rocklets(
    bash: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROCKLET_TOKEN_SHA256", "secret")
    await open_session(bash, "other", env={"MINE": "1"})
    names = {line.split("=")[0] for line in (await bash.run("env", session="other")).output.splitlines()}
    assert names == {"PATH", "HOME", "USER", "LANG", "TERM", "GREETING", "MINE", "PWD", "SHLVL", "_"}


async def test_commands_are_what_the_kernel_takes_first(bash: Caller) -> None:
    assert (await bash.run("cat /proc/self/oom_score_adj")).output == "1000\n"


# -------------------------------------------------------------------------------------------- hostile shell state


@pytest.mark.parametrize(
    "command",
    [
        "PS1='prompt> ' PS2='more> ' PS0='zero'",
        "PROMPT_COMMAND='echo prompted'",
        "PROMPT_COMMAND=('echo a' 'echo b')",
        "set -u; echo $nope",
        "unset PATH; PATH=/usr/bin:/bin",
        'printf() { echo mine; }; eval() { echo mine; }; echo() { command echo "$@"; }; unset -f echo',
        "alias printf='echo no' eval='echo no' builtin='echo no' exit='echo no'",
        "exec </dev/null",
        "exec 0<&-",
        "exec 3>&1 4>&2",
        "stty sane; stty echo; stty raw; stty -icanon min 0",
        "IFS=,; set -f; shopt -s extglob nullglob",
        "set -o posix; set +o posix; set -o noclobber",
        "trap 'true' ERR EXIT INT TERM",
        "set -m; set +m; set -m",
        "enable -n echo; enable echo",
        "LANG=C LC_ALL=C; export LANG LC_ALL",
        "cd /; umask 077",
        "history -c; set -o history; set +o history",
        "sleep 0.01 & disown -a",
        *("readonly PS1", "readonly PS2", "readonly PS0", "readonly PROMPT_COMMAND"),
        *("builtin() { :; }", "builtin() { false; }; enable() { :; }; command() { :; }; unset() { :; }"),
        *("enable -n printf", "enable -n builtin eval printf", "set -o posix; builtin() { echo no; }"),
    ],
)
async def test_whatever_a_command_does_to_its_shell_the_next_one_answers_exactly(bash: Caller, command: str) -> None:
    await bash.run(command, timeout=5.0)
    done = await bash.run("echo 'a b'")
    assert (done.output, done.exit_code, done.shell_restarted) == ("a b\n", 0, False)
    assert (await bash.run("cat", timeout=0.05)).timed_out
    assert (await bash.run("sh -c 'exit 9'")).exit_code == 9


async def test_a_shell_whose_output_goes_elsewhere_still_answers(bash: Caller, tmp_path: Path) -> None:
    await bash.run(f"exec >{tmp_path}/log 2>&1")
    assert (await bash.run("echo unseen; false")).exit_code == 1
    assert (tmp_path / "log").read_text() == "unseen\n"
    assert (await bash.run("exec >/dev/tty 2>&1; echo seen")).output == "seen\n"


async def test_closed_output_descriptors_wedge_nothing(bash: Caller) -> None:
    await bash.run("exec 1>&- 2>&-")
    assert (await bash.run("echo unseen")).exit_code == 1
    assert (await bash.run("exec 1>/dev/tty 2>&1; echo seen")).output == "seen\n"


async def test_traces_show_the_users_command_and_never_the_mark(bash: Caller) -> None:
    await bash.run("set -x")
    traced = await bash.run("echo x")
    assert traced.output == "+ builtin eval 'echo x'\n++ echo x\nx\n"
    assert "printf" not in (await bash.run("set +x")).output
    assert (await bash.run("echo y")).output == "y\n"


async def test_a_forged_mark_is_only_output(bash: Caller) -> None:
    forged = "0123456789abcdef" * 2
    done = await bash.run(f"for fd in /proc/$$/fd/*; do printf '\\1%s %s\\n' {forged}z 0 >$fd; done; echo {forged}z 0")
    assert done.exit_code is not None
    assert (await bash.run("echo ok; (exit 3)")).exit_code == 3


async def test_a_command_cannot_read_the_channel_its_shell_is_told_by(bash: Caller) -> None:
    done = await bash.run("readlink /proc/self/fd/* | grep -c socket; true")
    assert done.output == "0\n"


async def test_a_shell_that_lost_its_channel_is_replaced(bash: Caller) -> None:
    done = await bash.run("exec 10<&- 11<&- 12<&-", timeout=20.0)
    assert (done.shell_restarted, done.timed_out) == (True, False)
    assert (await bash.run("echo ok")).output == "ok\n"


async def test_a_program_that_takes_the_shells_place_runs_to_its_end(bash: Caller) -> None:
    done = await bash.run("exec sh -c 'sleep 0.1; echo in place; exit 6'")
    assert (done.output, done.exit_code, done.shell_restarted) == ("in place\n", 6, True)


# ------------------------------------------------------------------------------------------------ ends of the shell


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [("exit 3", 3), ("set -e; false; echo no", 1), ("kill -9 $$", 137), ("exec true", 0), ("set -e\n(exit 7)", 7)],
)
async def test_the_end_of_the_shell_is_told_at_once_and_a_new_one_answers(
    bash: Caller, command: str, exit_code: int
) -> None:
    await bash.run("x=1; cd /")
    done = await bash.run(f"echo before; {command}", timeout=120.0)
    assert done.output.startswith("before\n")
    assert (done.exit_code, done.shell_restarted, done.timed_out) == (exit_code, True, False)
    assert "without its variables" in done.failure_reason
    assert done.duration < 15  # long before the timeout
    after = await bash.run('echo "[$x]"; pwd')
    assert after.output == f"[]\n{(await bash.run('echo $PWD')).output}"
    assert not after.shell_restarted


async def test_a_daemon_that_keeps_the_terminal_open_delays_nothing(bash: Caller, tmp_path: Path) -> None:
    begun = asyncio.get_running_loop().time()
    done = await bash.run(f"(setsid sleep 30 & echo $! >{tmp_path}/pid); nohup sleep 30 >/dev/null & echo hi")
    assert "hi\n" in done.output
    ended = await bash.run("exit 0")
    assert (ended.exit_code, ended.shell_restarted) == (0, True)
    assert asyncio.get_running_loop().time() - begun < 5
    os.kill(int((tmp_path / "pid").read_text()), 9)


async def test_what_a_background_job_prints_later_stands_in_the_next_output(bash: Caller, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    started = await bash.run(f"mkfifo {fifo}; (cat {fifo} >/dev/null; echo late) &")
    assert started.output.startswith("[1] ")
    done = await bash.run(f"echo >{fifo}; wait; echo now")
    assert "late\n" in done.output
    assert done.output.endswith("now\n")


async def test_a_finished_job_is_announced_as_in_a_terminal(bash: Caller) -> None:
    assert (await bash.run("sleep 0.01 &")).output.startswith("[1] ")
    done = await bash.run("sleep 0.1; echo last")
    assert "[1]+  Done " in done.output


# ------------------------------------------------------------------------------------------------------- timeouts


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "echo partial; sleep 100; echo unreached",
        "echo partial; sleep 100; sleep 100; sleep 100",
        "echo partial; while :; do :; done",
        "echo partial; cat",
        "echo partial; read y; echo unreached",
        "echo partial; y=$(sleep 100); echo unreached",
        "echo partial; sleep 100 | cat | cat",
        "echo partial; f() { sleep 100; f; }; f",
        "echo partial; for i in 1 2 3 4 5 6 7 8 9; do sleep 100; done",
        "echo partial; sleep 100 & wait",
        "echo partial; python3 -c 'import time, signal; signal.signal(2, signal.SIG_IGN); time.sleep(100)'",
        "echo partial; (trap '' INT; while :; do sleep 1; done)",
        "echo partial; (sleep 100; sleep 100)",
        "echo partial; yes >/dev/null",
        "echo partial; stty -isig; sleep 100",
        "echo partial; until false; do sleep 0.01; done",
        "echo partial; trap 'echo caught' INT; sleep 100",
    ],
)
async def test_a_timeout_ends_the_whole_command_and_keeps_the_shell(bash: Caller, command: str) -> None:
    shell = (await bash.run("x=kept; echo $$")).output
    done = await bash.run(command, timeout=TIMED_OUT)
    assert (done.timed_out, done.exit_code, done.shell_restarted) == (True, None, False)
    assert "partial\n" in done.output
    assert "unreached" not in done.output
    assert done.failure_reason.startswith("timed out after 1 s")
    assert done.duration < TIMED_OUT + 30
    assert (await bash.run("echo $x $$")).output.endswith(f"kept {shell}")
    assert (await bash.run("jobs -r | grep -v 'sleep 100 &' | wc -l")).output == "0\n"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["trap '' INT; sleep 100; sleep 100; sleep 9", "trap '' INT; while :; do :; done"])
async def test_a_shell_that_ignores_interrupts_is_replaced(bash: Caller, command: str) -> None:
    done = await bash.run(f"echo partial; {command}", timeout=TIMED_OUT)
    assert (done.timed_out, done.shell_restarted) == (True, True)
    assert done.output.startswith("partial\n")
    assert done.duration < TIMED_OUT + 30
    assert (await bash.run("echo ok")).output == "ok\n"


@pytest.mark.slow
async def test_the_output_until_a_timeout_is_exact(bash: Caller) -> None:
    assert (await bash.run("printf 'a\\nb'; sleep 100", timeout=TIMED_OUT)).output == "a\nb"


@pytest.mark.slow
async def test_and_however_bash_and_its_command_hear_of_the_interrupt(caller: Caller) -> None:
    names = [f"s{number}" for number in range(16)]
    await asyncio.gather(*(open_session(caller, name) for name in names))
    for _ in range(3):
        ended = (caller.run("echo begun; sleep 100", session=name, timeout=TIMED_OUT) for name in names)
        assert {done.output for done in await asyncio.gather(*ended)} == {"begun\n"}


@pytest.mark.slow
async def test_what_a_command_says_of_its_interrupt_is_its_output(bash: Caller) -> None:
    done = await bash.run("bash -c 'trap \"echo bye; exit\" INT; echo on; sleep 100'", timeout=TIMED_OUT)
    assert done.output.startswith("on\nbye\n")


@pytest.mark.slow
async def test_background_jobs_live_through_a_timeout(bash: Caller) -> None:
    await bash.run("sleep 100 & pid=$!")
    assert (await bash.run("sleep 100", timeout=TIMED_OUT)).timed_out
    assert (await bash.run("kill -0 $pid && echo lived; kill $pid")).output.startswith("lived\n")


@pytest.mark.slow
async def test_a_timeout_counts_from_the_commands_own_start(bash: Caller) -> None:
    slow = asyncio.ensure_future(bash.run("sleep 3.5; echo first"))
    queued = asyncio.ensure_future(bash.run("echo second", timeout=3))
    assert [(await slow).output, (await queued).output] == ["first\n", "second\n"]
    assert not (await queued).timed_out


# ---------------------------------------------------------------------------------------------------- concurrency


async def test_commands_that_come_together_run_one_by_one_in_order(bash: Caller, tmp_path: Path) -> None:
    async def run(n: int) -> Observation:
        return await bash.run(f"echo begin {n}; echo end {n}; echo {n} >>{tmp_path}/order")

    results = []
    async with asyncio.TaskGroup() as tasks:
        for n in range(20):
            results.append(tasks.create_task(run(n)))
            await bash.call(LIST_SESSIONS)  # so that they arrive in this order
    assert [task.result().output for task in results] == [f"begin {n}\nend {n}\n" for n in range(20)]
    assert (tmp_path / "order").read_text().split() == [str(n) for n in range(20)]


async def test_sessions_run_side_by_side(caller: Caller) -> None:
    names = [f"s{n}" for n in range(8)]
    await asyncio.gather(*(open_session(caller, name) for name in names))
    first = asyncio.ensure_future(caller.run("read -t 20 x </dev/tty; echo $x", session="s0", interactive=True))
    others = await asyncio.gather(*(caller.run("echo $$", session=name) for name in names[1:]))
    assert len({done.output for done in others}) == 7
    first.cancel()


# -------------------------------------------------------------------------------------------- interactive programs


async def test_an_interactive_program_talks_back_until_it_is_quit(bash: Caller) -> None:
    banner = await bash.run("python3 -q", interactive=True, expect=[">>> "], timeout=20.0)
    assert (banner.output, banner.expect_string, banner.exit_code) == (">>> ", ">>> ", None)
    answer = await bash.run("6 * 7", interactive=True, expect=[">>> "], timeout=20.0)
    assert answer.output == "42\n>>> "
    with pytest.raises(SessionBusy, match="interactive"):
        await bash.run("echo no")
    ended = await bash.run("exit(5)", interactive_quit=True, timeout=20.0)
    assert (ended.output, ended.exit_code) == ("", 5)
    assert (await bash.run("echo $?")).output == "5\n"


async def test_the_first_of_several_expected_texts_is_told_and_the_rest_is_kept(bash: Caller) -> None:
    asked = await bash.run(
        "printf 'name? '; read x; printf 'age? '; read y; echo $x is $y",
        interactive=True,
        expect=["age? ", "name? "],
        timeout=20.0,
    )
    assert (asked.output, asked.expect_string) == ("name? ", "name? ")
    asked = await bash.run("Ann", interactive=True, expect=["age? "], timeout=20.0)
    assert (asked.output, asked.expect_string) == ("age? ", "age? ")
    done = await bash.run("7", interactive=True, timeout=20.0)
    assert (done.output, done.exit_code) == ("Ann is 7\n", 0)


async def test_a_program_that_ends_unasked_leaves_the_session_free(bash: Caller) -> None:
    await bash.run("echo ready; read x; exit_code=3; (exit 3)", interactive=True, expect=["ready\n"], timeout=20.0)
    done = await bash.run("go", interactive=True, expect=["never printed"], timeout=20.0)
    assert (done.exit_code, done.expect_string) == (3, "")
    assert (await bash.run("echo free")).output == "free\n"


async def test_expect_applies_to_a_command_that_ends_too(bash: Caller) -> None:
    done = await bash.run("echo READY; echo more", expect=["READY"], timeout=20.0)
    assert done.output.startswith("READY")
    assert done.expect_string == "READY"


@pytest.mark.slow
async def test_an_interrupt_ends_a_running_command_and_its_caller_hears_why(bash: Caller, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    running = asyncio.ensure_future(bash.run(f"echo begun >{fifo}; sleep 100"))
    await asyncio.to_thread(fifo.read_text)
    pressed = await bash.call(INTERRUPT_SESSION, InterruptRequest())
    assert pressed.failure_reason.startswith("interrupted")
    done = await running
    assert (done.failure_reason, done.exit_code, done.timed_out) == ("interrupted", 130, False)
    assert (await bash.run("echo ok")).output == "ok\n"


@pytest.mark.slow
async def test_an_interrupt_kills_a_program_that_was_left_in_the_foreground(bash: Caller) -> None:
    program = "python3 -c 'import signal; signal.signal(2, signal.SIG_IGN); print(\"up\", flush=True); signal.pause()'"
    await bash.run(program, interactive=True, expect=["up"], timeout=20.0)
    pressed = await bash.call(INTERRUPT_SESSION, InterruptRequest(grace=0.1))
    assert pressed.failure_reason == "interrupted"
    assert pressed.exit_code in (130, 137)
    assert (await bash.run("echo ok")).output.endswith("ok\n")


async def test_an_interrupt_of_an_idle_session_says_so(bash: Caller) -> None:
    assert (await bash.call(INTERRUPT_SESSION)).failure_reason == "nothing was running"
    assert (await bash.run("echo ok")).output == "ok\n"


# ------------------------------------------------------------------------------------------------------ lifecycle


async def test_start_up_files_are_sourced_in_order_and_their_output_is_told(caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("echo one; x=1\n")
    (tmp_path / "two's").write_text("echo two; x=${x}2\n")
    session = await open_session(caller, startup_source=[str(tmp_path / "one"), str(tmp_path / "two's")], cwd="/")
    assert (session.session, session.shell, session.output) == ("default", "bash", "one\ntwo\n")
    assert (await caller.run("echo $x; pwd; exit")).output.startswith("12\n/\n")
    assert (await caller.run("echo $x")).output == "12\n"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"cwd": "/nonono"}, CommandFailed),
        ({"cwd": "relative"}, InvalidRequest),
        ({"startup_source": ["/nonono"]}, FileNotFound),
        ({"user": "nobody-knows-me"}, InvalidRequest),
    ],
)
async def test_a_session_that_cannot_start_is_a_typed_error_and_leaves_none(
    caller: Caller, options: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await open_session(caller, "default", **options)
    assert (await caller.call(LIST_SESSIONS)).sessions == []


@pytest.mark.slow
async def test_a_start_up_file_that_hangs_ends_at_the_startup_timeout(caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "rc").write_text("sleep 100")
    with pytest.raises(CommandFailed, match="startup_timeout"):
        await open_session(caller, startup_source=[str(tmp_path / "rc")], startup_timeout=0.3)


async def test_a_name_is_taken_once_unless_the_caller_wants_to_keep_it(bash: Caller) -> None:
    with pytest.raises(SessionExists):
        await open_session(bash)
    kept = await open_session(bash, on_existing="keep")
    assert kept.existed


async def test_a_command_that_its_session_takes_with_it_says_so_even_if_its_shell_outlives_it(bash: Caller) -> None:
    await bash.run("trap '' HUP")
    running = asyncio.ensure_future(bash.run("sleep 100"))
    while (await bash.call(GET_CLOCKS)).actions_in_flight < 1:
        pass
    await bash.call(CLOSE_SESSION, SessionRequest())
    ended = await running
    assert (ended.canceled, ended.failure_reason) == (True, "the session was closed")


async def test_a_closed_session_is_gone_and_its_foreground_command_ended(bash: Caller) -> None:
    running = asyncio.ensure_future(bash.run("sleep 100"))
    queued = asyncio.ensure_future(bash.run("echo never"))
    while (await bash.call(GET_CLOCKS)).actions_in_flight < 2:
        pass
    await bash.call(CLOSE_SESSION, SessionRequest())
    assert (await running).canceled
    for gone in (queued, bash.run("echo hi"), bash.call(CLOSE_SESSION, SessionRequest())):
        with pytest.raises(SessionNotFound):
            await gone
    assert (await open_session(bash)).existed is False


@pytest.mark.slow
async def test_a_session_that_nobody_uses_is_closed(caller: Caller) -> None:
    await open_session(caller, idle_timeout=0.2)
    assert (await caller.run("sleep 0.4; echo busy is not idle")).exit_code == 0
    while (await caller.call(LIST_SESSIONS)).sessions:
        pass
    with pytest.raises(SessionNotFound):
        await caller.run("echo hi")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
async def test_a_session_of_another_user_is_that_user_with_job_control(caller: Caller) -> None:
    home = pwd.getpwnam("nobody").pw_dir
    await open_session(caller, user="nobody", cwd="/")
    done = await caller.run("id -un; id -u; id -G; echo $HOME $USER; echo x >/dev/tty; sleep 0 & wait")
    assert done.output.startswith(f"nobody\n65534\n65534\n{home} nobody\nx\n[1] ")
    assert (await caller.run("cat", timeout=TIMED_OUT)).timed_out
    assert (await caller.run("echo ok")).output.endswith("ok\n")


async def test_an_image_without_bash_gets_sh_and_says_so(caller: Caller, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "cat", "nohup", "sleep"):
        (tools / name).symlink_to(f"/bin/{name}")
    session = await open_session(caller, env={"PATH": str(tools)})
    assert session.shell == "sh"
    assert session.said().startswith("the image has no bash; the session runs sh")
    assert (await caller.run("echo hi; false")).exit_code == 1
    assert (await caller.run("echo $?\ncat <<E\nit's\nE")).output == "1\nit's\n"
    assert (await caller.run("cat; echo unreached", timeout=TIMED_OUT)).timed_out
    assert (await caller.run("PS1='> '; echo 'x", timeout=5.0)).exit_code == 2
    assert (await caller.run("exit 4", timeout=5.0)).exit_code == 4
    background = "nohup sleep 0 </dev/null >/dev/null 2>&1 & echo ${!}; disown"  # as ROCK's clients send it
    assert (await caller.run(background)).exit_code == 0


async def test_an_image_without_any_shell_says_what_to_use_instead(caller: Caller, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"no shell: neither bash nor sh .*use execute with a list of arguments"):
        await open_session(caller, env={"PATH": str(tmp_path)})
    assert not (await caller.call(LIST_SESSIONS)).sessions


async def test_a_shell_needs_no_other_to_be_started(caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "bash").symlink_to("/bin/bash")
    (tmp_path / "start-up").write_text("echo never")
    session = await open_session(caller, env={"PATH": str(tmp_path), "BASH_ENV": str(tmp_path / "start-up")})
    assert (session.shell, session.output, session.warnings) == ("bash", "", [])
    assert (await caller.run("echo ${0##*/} $SHLVL")).output == "bash 1\n"


async def test_a_run_in_no_session_names_the_remedy(caller: Caller) -> None:
    with pytest.raises(SessionNotFound, match="create it first"):
        await caller.call(RUN_IN_SESSION, RunRequest(command="true", session="nope"))


async def test_a_command_that_prints_nothing_for_too_long_is_ended_and_the_session_goes_on(bash: Caller) -> None:
    await bash.run("X=kept")
    ran = await bash.run("sleep 300", silence_timeout=0.1)
    assert ran.timed_out
    assert ran.failure_reason == "printed nothing for 0.1 s; its process group was killed"
    assert (await bash.run("echo $X")).output == "kept\n"
