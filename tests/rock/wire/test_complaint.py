from rock.wire._complaint import invalid_field, show
from rock.wire.messages import CreateSandboxRequest


def test_a_complaint_of_an_unknown_form_is_still_told() -> None:
    error = invalid_field(CreateSandboxRequest, "something new", {"hold": 1})
    assert error.details["field"] == "$"
    assert "something new" in error.message


def test_a_wrong_key_of_a_mapping_is_told_as_such() -> None:
    complaint = "Expected `str` matching regex '^x' - at `key` in `$.spec.labels`"
    error = invalid_field(CreateSandboxRequest, complaint, {"spec": {"labels": {"a b": "c"}}})
    assert error.message == "a key of spec.labels is wrong: each must be 1 to 63 of letters, digits, _ . -"


def test_long_and_unprintable_values_are_shown_short_and_safe() -> None:
    assert len(show("x" * 1000)) == 80
    assert show("a\nb") == r"'a\nb'"
