from rock.wire.reasons import REASONS, Family, Reason


def test_every_reason_has_its_row() -> None:
    assert set(REASONS) == set(Reason)


def test_every_row_says_what_happened_and_what_to_do() -> None:
    assert all(facts.summary and facts.remedy for facts in REASONS.values())


def test_no_infrastructure_fault_is_the_commands_doing() -> None:
    assert {reason for reason, facts in REASONS.items() if facts.family is Family.COMMAND} == {
        Reason.OOM,
        Reason.EXITED,
    }
