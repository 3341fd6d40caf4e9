from __future__ import annotations

from pathlib import Path

import pytest

from tests.rocklet.dialects.swerex.conftest import Swerex


async def test_output_comes_exactly_as_it_was_printed(bash: Swerex) -> None:
    seen = await bash.run("printf ' a\\nb \\n\\n'")
    assert seen == {
        "output": " a\nb \n\n", "exit_code": 0, "failure_reason": "", "expect_string": "SHELLPS1PREFIX",
        "session_type": "bash",
    }  # fmt: skip


@pytest.mark.parametrize(("check", "code"), [("silent", 3), ("ignore", None)])
async def test_an_exit_code_is_told_as_the_check_says(bash: Swerex, check: str, code: int | None) -> None:
    assert (await bash.run("(exit 3)", check=check))["exit_code"] == code


async def test_a_check_raises_with_the_callers_words_and_the_output(bash: Swerex) -> None:
    with pytest.raises(LookupError) as caught:
        await bash.run("echo said; (exit 3)", error_msg="it broke")
    path, message = caught.value.args
    assert path == "swerex.exceptions.NonZeroExitCodeError"
    command = "'echo said; (exit 3)'"
    assert message == f"it broke: Command {command} failed with exit code 3. Here is the output:\n'said\\n'"


async def test_a_timeout_brings_what_was_printed_and_the_next_command_runs(bash: Swerex) -> None:
    with pytest.raises(LookupError) as caught:
        await bash.run("echo begun; sleep 60", timeout=0.3)
    path, message = caught.value.args
    assert path == "swerex.exceptions.CommandTimeoutError"
    assert "'begun\\n'" in message
    assert (await bash.run("echo next"))["output"] == "next\n"


async def test_a_syntax_error_runs_nothing(bash: Swerex, tmp_path: Path) -> None:
    with pytest.raises(LookupError) as caught:
        await bash.run(f"touch {tmp_path}/run\nif (")
    assert caught.value.args[0] == "swerex.exceptions.BashIncorrectSyntaxError"
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
async def test_a_dialogue_with_python(bash: Swerex) -> None:
    begun = await bash.run("python3 -q", is_interactive_command=True, expect=[">>> "])
    assert (begun["exit_code"], begun["expect_string"]) == (0, ">>> ")
    said = await bash.run("print(6 * 7)", is_interactive_command=True, expect=[r">>>\s", "never"])
    assert said["output"].endswith("42\n>>> ")
    assert said["expect_string"] == r">>>\s"
    await bash.run("quit()", is_interactive_quit=True)
    assert (await bash.run("echo $((6 * 7))"))["output"] == "42\n"


async def test_an_expectation_that_is_no_expression_is_refused(bash: Swerex) -> None:
    async with bash.http.post(
        "/swerex/run_in_session", json={"action_type": "bash", "command": "true", "expect": ["("]}
    ) as reply:
        assert reply.status == 422
        assert "expect" in (await reply.json())["detail"][0]["loc"]


async def test_an_interrupt_where_nothing_runs_is_a_success(bash: Swerex) -> None:
    seen = await bash.call("run_in_session", action_type="bash_interrupt")
    assert (seen["output"], seen["exit_code"]) == ("", 0)


async def test_sessions_that_exist_or_do_not_are_told_apart(bash: Swerex) -> None:
    with pytest.raises(LookupError, match="SessionExistsError"):
        await bash.call("create_session", session_type="bash")
    with pytest.raises(LookupError, match="SessionDoesNotExistError"):
        await bash.run("true", session="other")
    assert await bash.call("close_session", session_type="bash") == {"session_type": "bash"}
    with pytest.raises(LookupError, match="SessionDoesNotExistError"):
        await bash.run("true")


async def test_close_ends_the_sessions_and_not_the_server(bash: Swerex) -> None:
    assert await bash.call("close") == {}
    await bash.call("create_session", session_type="bash")
    assert (await bash.run("echo again"))["output"] == "again\n"


async def test_execute_means_what_subprocess_means(swerex: Swerex, tmp_path: Path) -> None:
    run = swerex.call
    assert (await run("execute", command=["printf", "a b"]))["stdout"] == "a b"
    assert (await run("execute", command="pwd", shell=True, cwd=str(tmp_path)))["stdout"] == f"{tmp_path}\n"
    assert (await run("execute", command=["echo $1", "sh", "second"], shell=True))["stdout"] == "second\n"
    assert (await run("execute", command="echo a; echo b >&2", shell=True, merge_output_streams=True)) == {
        "stdout": "a\nb\n", "stderr": "", "exit_code": 0,
    }  # fmt: skip
    alone = await run("execute", command=["/usr/bin/env"], env={"A": "1"})
    assert alone["stdout"] == "A=1\n"
    with pytest.raises(LookupError, match=r"builtins\.FileNotFoundError"):
        await run("execute", command="no-such-program with arguments")
    with pytest.raises(LookupError, match=r"NonZeroExitCodeError.*Stdout:.*'said\\\\n'"):
        await run("execute", command="echo said; exit 2", shell=True, check=True)


async def test_a_program_that_runs_out_of_time_is_a_timeout(swerex: Swerex) -> None:
    with pytest.raises(LookupError, match="CommandTimeoutError"):
        await swerex.call("execute", command=["sleep", "60"], timeout=0.1)


async def test_files_are_written_with_their_folders_and_read(swerex: Swerex, tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "file")
    assert await swerex.call("write_file", path=path, content="text") == {}
    assert await swerex.call("read_file", path=path) == {"content": "text"}
    with pytest.raises(LookupError, match=r"builtins\.FileNotFoundError"):
        await swerex.call("read_file", path=str(tmp_path / "nothing"))


async def test_a_relative_path_is_below_the_sandboxs_home(swerex: Swerex) -> None:
    await swerex.call("write_file", path="notes", content="here")
    assert (await swerex.call("execute", command=["cat", "notes"]))["stdout"] == "here"
