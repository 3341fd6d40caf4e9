import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock.wire.codec import convert, decode, decode_json, decode_query, encode, encode_query
from rock.wire.errors import InvalidRequest
from rock.wire.messages import (
    CreateSandboxRequest,
    DownloadRequest,
    ExecuteRequest,
    GetSandboxRequest,
    ListSandboxesRequest,
    RunRequest,
    State,
)
from rock.wire.operations import OPERATIONS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("body", "field", "value", "expected"),
    [
        (b'{"spec":{"memory_bytes":-3}}', "spec.memory_bytes", "-3", "bytes, at least 16 MiB"),
        (b'{"spec":{"gpus":1.5}}', "spec.gpus", "1.5", "a whole number of GPUs"),
        (b'{"spec":{"ports":[1,99999]}}', "spec.ports[1]", "99999", "a port number, 1 to 65535"),
        (b'{"spec":{"isolation":"vm"}}', "spec.isolation", "'vm'", "one of exec, gvisor, kata, mock, raw_exec, runc"),
        (b'{"spec":{"registry":{"username":"a"}}}', "spec.registry.password", "(hidden)", "text without NUL"),
        (b'{"spec":{"sandbox_id":"A b"}}', "spec.sandbox_id", "'A b'", "1 to 48 of a-z"),
        (b'{"hold":99}', "hold", "99", "seconds, 0 to 20"),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_what_would_do(
    body: bytes, field: str, value: str, expected: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(CreateSandboxRequest, body)
    assert caught.value.details["field"] == field
    assert caught.value.details["value"] == value
    assert expected in caught.value.details["expected"]
    assert field in caught.value.message


def test_an_unknown_field_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InvalidRequest, match=r"unknown field 'spec\.memory'; the fields here are .*memory_bytes"):
        decode(CreateSandboxRequest, b'{"spec":{"memory":1}}')


def test_a_missing_field_says_what_to_send() -> None:
    with pytest.raises(InvalidRequest, match="command is missing; send shell text without NUL"):
        decode(RunRequest, b"{}")


def test_a_value_that_may_be_two_things_names_both() -> None:
    with pytest.raises(InvalidRequest, match="command is 3"):
        decode(ExecuteRequest, b'{"command":3}')


@pytest.mark.parametrize("name", ["env", "registry"])
def test_a_secret_is_never_repeated_in_an_error(name: str) -> None:
    secret = "s3cr3t-value"
    body = {"env": {"KEY": [secret]}, "registry": {"username": "u", "password": [secret]}}
    with pytest.raises(InvalidRequest) as caught:
        decode(CreateSandboxRequest, msgspec.json.encode({"spec": {name: body[name]}}))
    assert secret not in str(caught.value)
    assert secret not in str(caught.value.details)


@pytest.mark.parametrize(
    "body", [b"[", b"\xff", b"[" * 100_000, b'{"spec":{"cpus":NaN}}', b'{"spec":{"image":"\\ud800"}}', b"nul"]
)
def test_what_is_no_json_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="the body is not JSON"):
        decode(CreateSandboxRequest, body)


def test_an_empty_body_is_an_empty_object() -> None:
    assert decode(CreateSandboxRequest, b"") == CreateSandboxRequest()


@given(st.sampled_from(sorted(OPERATIONS)), JSON)
def test_arbitrary_json_becomes_a_request_or_a_typed_error(name: str, document: object) -> None:
    kind = OPERATIONS[name].request
    try:
        request = decode(kind, msgspec.json.encode(document))
    except InvalidRequest as error:
        assert {"field", "value", "expected"} <= error.details.keys()
    else:
        assert isinstance(request, kind)


@given(st.binary(max_size=64))
def test_arbitrary_bytes_become_a_request_or_a_typed_error(body: bytes) -> None:
    try:
        decode(CreateSandboxRequest, body)
    except InvalidRequest as error:
        assert error.details["field"]


def test_a_request_survives_the_way_over_a_query_string() -> None:
    request = ListSandboxesRequest(state=State.RUNNING, label=["a=b", "c=d"], limit=5)
    assert decode_query(ListSandboxesRequest, encode_query(request)) == request
    plain = DownloadRequest(path="/x", sha256=False)
    assert encode_query(plain) == [("path", "/x"), ("sha256", "false")]
    assert decode_query(DownloadRequest, encode_query(plain)) == plain


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ([("limit", "x")], "limit is 'x'; it must be 1 to 2000"),
        ([("limit", "1"), ("limit", "2")], "limit is given twice"),
        ([("state", "asleep")], "one of pending, running, stopped"),
        ([("colour", "red")], "unknown field 'colour'"),
    ],
)
def test_a_wrong_query_names_its_key(query: list[tuple[str, str]], complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        decode_query(ListSandboxesRequest, query)


def test_encode_writes_json_without_defaults() -> None:
    assert encode(CreateSandboxRequest()) == b"{}"


def test_decoded_json_is_converted_strictly_or_not() -> None:
    assert convert(GetSandboxRequest, {"hold": "3", "renew": "True"}, is_strict=False) == GetSandboxRequest(
        hold=3.0, renew=True
    )
    with pytest.raises(InvalidRequest, match="hold"):
        convert(GetSandboxRequest, {"hold": "3"})


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_told_so(body: bytes) -> None:
    assert decode_json(b"") == {}
    with pytest.raises(InvalidRequest, match="not JSON"):
        decode_json(body)
