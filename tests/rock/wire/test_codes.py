import pytest

from rock.wire.codes import codes


@pytest.mark.parametrize(
    ("code", "question"),
    [
        (codes.OK, codes.is_success),
        (codes.BAD_REQUEST, codes.is_client_error),
        (codes.INTERNAL_SERVER_ERROR, codes.is_server_error),
        (codes.COMMAND_ERROR, codes.is_command_error),
    ],
)
def test_each_code_is_of_one_kind(code: codes, question: object) -> None:
    kinds = [codes.is_success, codes.is_client_error, codes.is_server_error, codes.is_command_error]
    assert [kind(code) for kind in kinds] == [kind == question for kind in kinds]
    assert codes.is_error(code) is (code is not codes.OK)


def test_codes_read_as_rocks_do() -> None:
    assert str(codes.BAD_REQUEST) == "4000"
    assert codes.get_reason_phrase(2000) == "OK"
    assert codes.get_reason_phrase(4000) == "Bad Request"
    assert codes.get_reason_phrase(9999) == ""
    assert int(codes.bad_request) == 4000
