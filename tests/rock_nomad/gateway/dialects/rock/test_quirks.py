import pytest

from rock_nomad.gateway.dialects.rock import quirks


def test_every_quirk_says_how_it_is_served_and_who_depends_on_it() -> None:
    assert all(each.what and each.how and each.source for each in quirks.QUIRKS)
    assert len({each.what for each in quirks.QUIRKS}) == len(quirks.QUIRKS)


@pytest.mark.parametrize(
    ("command", "pid"),
    [
        ("kill -0 17", 17),
        (" kill -0 17\n", 17),
        ("kill -0 0", None),
        ("kill -0 99999999999", None),
        ("kill -0 9999999999", None),
        ("kill -0 17 && echo alive", None),
        ("kill -9 17", None),
    ],
)
def test_a_probe_is_a_command_that_does_nothing_else(command: str, pid: int | None) -> None:
    assert quirks.probed_process(command) == pid


@pytest.mark.parametrize(
    ("session", "is_temporary"),
    [("bash-1763729000123456789", True), ("bash-1", False), ("default", False), ("bash-17637290001234567890", False)],
)
def test_a_session_made_for_one_call_is_known_by_its_name(session: str, is_temporary: bool) -> None:
    assert quirks.is_temporary(session) is is_temporary


def test_output_is_told_as_rock_tells_it() -> None:
    assert quirks.clean_output("\n\x1b[31mred\x1b[0m\x1b[2K \n") == "red"
