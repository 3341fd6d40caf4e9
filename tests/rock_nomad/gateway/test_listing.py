import json
import secrets
from typing import Any

import pytest

from rock.wire.errors import InvalidRequest, SandboxEnded
from rock.wire.messages import ListSandboxesRequest, State
from rock.wire.operations import LIST_SANDBOXES
from rock.wire.reasons import Reason
from rock_nomad.config import ClusterProfile
from rock_nomad.gateway.listing import page_of
from rock_nomad.snapshot import Snapshot
from tests.cluster import Cluster
from tests.gateways import Gateway, wait_until_listed


def _job(number: int, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    spec = {"image": f"img-{number % 2}", "labels": {"n": str(number), "all": "yes"}}
    meta = {"managed_by": "here", "tenant": "team", "spec": json.dumps(spec), "isolation": "raw_exec"}
    return {"ID": f"sbx-{number:03}", "Meta": meta, "CreateIndex": 10 + number, "Status": "pending", **fields}


def _snapshot(jobs: list[dict[str, Any]]) -> Snapshot:
    return Snapshot(profile=ClusterProfile(name="here"), jobs=jobs, now=0.0)


JOBS = [_job(number) for number in range(10)]


def _ids(request: ListSandboxesRequest, jobs: list[dict[str, Any]] = JOBS) -> list[str]:
    return [each.sandbox_id for each in page_of(_snapshot(jobs), request).sandboxes]


def test_the_newest_come_first() -> None:
    assert _ids(ListSandboxesRequest()) == [f"{number:03}" for number in reversed(range(10))]


@pytest.mark.parametrize("limit", [1, 3, 5, 10, 11])
def test_pages_together_are_the_whole_list_once(limit: int) -> None:
    seen, cursor = list[str](), None
    while True:
        page = page_of(_snapshot(JOBS), ListSandboxesRequest(limit=limit, cursor=cursor))
        seen += [each.sandbox_id for each in page.sandboxes]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == _ids(ListSandboxesRequest())


def test_an_offset_leaves_out_the_newest_and_a_count_says_how_many_match() -> None:
    asked = ListSandboxesRequest(offset=3, limit=2, count=True)
    page = page_of(_snapshot(JOBS), asked)
    assert ([each.sandbox_id for each in page.sandboxes], page.total) == (["006", "005"], 10)
    rest = page_of(_snapshot(JOBS), ListSandboxesRequest(cursor=page.next_cursor, count=True))
    assert ([each.sandbox_id for each in rest.sandboxes], rest.total) == (["004", "003", "002", "001", "000"], 10)


def test_a_sandbox_made_or_ended_between_two_pages_doubles_and_hides_nobody() -> None:
    first = page_of(_snapshot(JOBS), ListSandboxesRequest(limit=4))
    changed = [*JOBS[1:], _job(0, Stop=True, Status="dead"), _job(77)]
    rest = page_of(_snapshot(changed), ListSandboxesRequest(cursor=first.next_cursor))
    assert [each.sandbox_id for each in rest.sandboxes] == _ids(ListSandboxesRequest())[4:]


def test_every_filter_must_hold() -> None:
    assert _ids(ListSandboxesRequest(image="img-1")) == ["009", "007", "005", "003", "001"]
    assert _ids(ListSandboxesRequest(label=["all=yes", "n=3"])) == ["003"]
    assert _ids(ListSandboxesRequest(label=["n=3"], image="img-0")) == []
    assert _ids(ListSandboxesRequest(state=State.RUNNING)) == []
    assert _ids(ListSandboxesRequest(reason=Reason.IDLE)) == []


@pytest.mark.parametrize(
    "request_", [{"label": ["x"]}, {"label": ["=x"]}, {"cursor": "?"}, {"cursor": "eA=="}, {"cursor": "ä"}]
)
def test_a_label_or_cursor_that_is_none_is_named(request_: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        page_of(_snapshot(JOBS), ListSandboxesRequest(**request_))
    assert caught.value.details["field"] in request_


@pytest.mark.slow
async def test_a_list_says_by_nomads_word_what_runs_waits_and_has_ended(cluster: Cluster, gateway: Gateway) -> None:
    running = await gateway.create(cpus=0.6 * gateway.cpus, labels={"a": "1"})
    await wait_until_listed(cluster, running.sandbox_id)
    waiting = await gateway.create(cpus=0.6 * gateway.cpus, hold=0)
    listed = await gateway.call(LIST_SANDBOXES)
    assert [(each.sandbox_id, each.state) for each in listed.sandboxes] == [
        (waiting.sandbox_id, State.PENDING),
        (running.sandbox_id, State.RUNNING),
    ]
    assert "0 of 1 node" in listed.sandboxes[0].message
    assert {each.observed_by for each in listed.sandboxes} == {"nomad"}
    assert all(each.rocklet is None for each in listed.sandboxes)
    with pytest.raises(SandboxEnded):
        await gateway.create(f"never-{secrets.token_hex(4)}", memory_bytes=900 * 2**30)
    never = (await gateway.call(LIST_SANDBOXES, ListSandboxesRequest(state=State.STOPPED))).sandboxes
    assert [each.reason for each in never] == [Reason.IMPOSSIBLE]
    found = await gateway.call(LIST_SANDBOXES, ListSandboxesRequest(label=["a=1"]))
    assert [each.sandbox_id for each in found.sandboxes] == [running.sandbox_id]


@pytest.mark.slow
async def test_sandboxes_can_be_asked_for_by_id(gateway: Gateway) -> None:
    made = [await gateway.create(hold=0) for _ in range(3)]
    wanted = [each.sandbox_id for each in made[:2]]
    listed = await gateway.call(LIST_SANDBOXES, ListSandboxesRequest(sandbox_id=[*wanted, "unknown"]))
    assert {each.sandbox_id for each in listed.sandboxes} == set(wanted)
