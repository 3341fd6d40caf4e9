import asyncio
from typing import Any

import pytest

from rock.wire.errors import ClusterUnavailable
from rock.wire.messages import Clocks, RockletEndpoint, State
from rock_nomad.config import ClusterProfile
from rock_nomad.gateway.observer import Observer, Sighting
from rock_nomad.gateway.rocklets import RockletUnreachable
from rock_nomad.gateway.watcher import Watcher
from rock_nomad.nomad import Answer

PROFILE = ClusterProfile(name="here")
ENDPOINT = RockletEndpoint(sandbox_id="a", url="http://127.0.0.1:1", token="t", alloc_id="x")
GONE = RockletEndpoint(sandbox_id="a", url="http://127.0.0.1:2", token="t", alloc_id="old")
BLACK_HOLE = RockletEndpoint(sandbox_id="a", url="http://127.0.0.1:3", token="t", alloc_id="old")
CLOCKS = Clocks(sandbox_id="a", uptime=1.0, idle_remaining=5.0, max_lifetime_remaining=9.0, pid=7)
NODE = {
    "NodePool": "default",
    "Datacenter": "dc1",
    "NodeResources": {"Cpu": {"CpuShares": 2000}, "Memory": {"MemoryMB": 4000}, "Disk": {"DiskMB": 9000}},
}


def _job(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    meta = {"managed_by": "here", "tenant": "team", "isolation": "raw_exec", "spec": '{"cpus":1.0}'}
    return {
        "ID": "sbx-a",
        "Meta": meta,
        "Status": "running",
        "SubmitTime": 10**12,
        "JobModifyIndex": 1,
        "NodePool": "default",
        **fields,
    }


def _sighting(job: dict[str, Any] | None = None, **fields: Any) -> Sighting:  # noqa: ANN401 - a sighting's fields
    return Sighting(job=job or _job(), **{"allocations": [], "evaluations": [], "now": 1001.0, **fields})


_STARTED = {"rocklet": {"StartedAt": "1970-01-01T00:16:40Z"}}
RUNNING = [{"ID": "x", "ClientStatus": "running", "CreateIndex": 2, "JobID": "sbx-a", "TaskStates": _STARTED}]
FAILED = {"NodesEvaluated": 1, "NodesExhausted": 1, "DimensionExhausted": {"cpu": 1}}
BLOCKED = [{"CreateIndex": 1, "TriggeredBy": "job-register", "FailedTGAllocs": {"sandbox": FAILED}}]


class _Locator:
    def __init__(
        self, found: RockletEndpoint | None = ENDPOINT, *, known: RockletEndpoint | None = None, is_up: bool = True
    ) -> None:
        self.found, self._known, self.is_up = found, known, is_up
        self.forgotten: list[RockletEndpoint] = []

    def known(self, tenant: str, sandbox_id: str) -> RockletEndpoint | None:
        return self._known

    async def find(self, tenant: str, sandbox_id: str) -> RockletEndpoint | None:
        if not self.is_up:
            raise ClusterUnavailable("consul does not answer")
        return self.found

    def forget(self, tenant: str, endpoint: RockletEndpoint) -> None:
        self.forgotten.append(endpoint)


class _Rocklets:
    def __init__(self, *, answers: bool = True) -> None:
        self.answers, self.asked = answers, 0

    async def clocks(self, endpoint: RockletEndpoint, *, renew: bool = False) -> Clocks:
        self.asked += 1
        if endpoint == BLACK_HOLE:
            await asyncio.Event().wait()
        if not self.answers or endpoint == GONE:
            raise RockletUnreachable(endpoint.url)
        return CLOCKS


def _observer(nomad: Any = None, *, locator: _Locator | None = None, rocklets: _Rocklets | None = None) -> Observer:  # noqa: ANN401 - fakes
    watcher = Watcher(nomad)
    return Observer(nomad, locator or _Locator(), rocklets or _Rocklets(), watcher, PROFILE)  # type: ignore[arg-type]


async def test_running_is_the_rocklets_own_word_and_brings_its_deadlines() -> None:
    status = await _observer().status("a", _sighting(allocations=RUNNING))
    assert (status.state, status.observed_by, status.rocklet) == (State.RUNNING, "rocklet", ENDPOINT)
    assert status.deadlines.idle == 1006.0


async def test_a_task_that_runs_is_pending_until_its_rocklet_answers() -> None:
    locator = _Locator()
    observer = _observer(locator=locator, rocklets=_Rocklets(answers=False))
    status = await observer.status("a", _sighting(allocations=RUNNING))
    assert (status.state, status.observed_by) == (State.PENDING, "nomad")
    assert locator.forgotten == [ENDPOINT]


async def test_a_known_rocklet_is_asked_without_consul() -> None:
    status = await _observer(locator=_Locator(known=ENDPOINT, is_up=False)).status("a", _sighting(allocations=RUNNING))
    assert (status.state, status.rocklet) == (State.RUNNING, ENDPOINT)


async def test_an_address_that_is_known_and_wrong_is_asked_for_anew() -> None:
    locator = _Locator(known=GONE)
    status = await _observer(locator=locator).status("a", _sighting(allocations=RUNNING))
    assert (status.rocklet, locator.forgotten) == (ENDPOINT, [GONE])


async def test_an_address_that_swallows_everything_is_not_known_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rock_nomad.gateway.observer.PROBE_TIMEOUT", 0.01)
    locator = _Locator(known=BLACK_HOLE)
    status = await _observer(locator=locator).status("a", _sighting(allocations=RUNNING))
    assert (status.state, locator.forgotten) == (State.PENDING, [BLACK_HOLE])


async def test_while_consul_is_away_a_new_sandbox_waits_and_says_for_what() -> None:
    status = await _observer(locator=_Locator(is_up=False)).status("a", _sighting(allocations=RUNNING))
    assert status.state is State.PENDING
    assert "consul does not answer" in status.message


@pytest.mark.parametrize(
    "sighting",
    [
        _sighting(),
        _sighting(_job(Stop=True), allocations=RUNNING),
        _sighting(allocations=[{**RUNNING[0], "ClientStatus": "complete"}]),
        _sighting(_job(Meta={**_job()["Meta"], "isolation": "mock"}), allocations=RUNNING),
    ],
    ids=["queued", "stopped", "over", "mock"],
)
async def test_nobody_is_asked_where_nobody_can_be(sighting: Sighting) -> None:
    rocklets = _Rocklets()
    await _observer(rocklets=rocklets).status("a", sighting)
    assert rocklets.asked == 0


@pytest.mark.parametrize(
    ("cpus", "now", "expected"),
    [(1.0, 1001.0, False), (64.0, 1001.0, True), (1.0, 1181.0, True)],
    ids=["busy", "impossible", "too late"],
)
def test_only_what_can_never_be_or_waited_too_long_is_hopeless(cpus: float, now: float, expected: bool) -> None:
    job = _job(Meta={**_job()["Meta"], "spec": f'{{"cpus":{cpus},"memory_bytes":67108864,"startup_timeout":180.0}}'})
    sighting = _sighting(job, evaluations=BLOCKED, nodes=[NODE], now=now)
    assert _observer().is_hopeless(sighting) is expected


class _Nomad:
    def __init__(self, job: dict[str, Any] | None, **rows: list[dict[str, Any]]) -> None:
        self.found, self.rows, self.asked = job, rows, list[str]()

    async def job(self, job_id: str) -> Answer[dict[str, Any]] | None:
        return Answer(data=self.found, index=1, date=1001.0) if self.found is not None else None

    async def allocations(self, job_id: str) -> Answer[list[dict[str, Any]]]:
        return self._said("allocations")

    async def evaluations(self, job_id: str) -> Answer[list[dict[str, Any]]]:
        return self._said("evaluations")

    async def nodes(self) -> Answer[list[dict[str, Any]]]:
        return self._said("nodes")

    def _said(self, what: str) -> Answer[list[dict[str, Any]]]:
        self.asked.append(what)
        return Answer(data=self.rows.get(what, []), index=1, date=1001.0)


@pytest.mark.parametrize(
    "job",
    [None, _job(Meta={"managed_by": "elsewhere", "tenant": "team"}), _job(Meta=None), _job(ID="web")],
    ids=["unknown", "another cluster's", "no meta", "no sandbox"],
)
async def test_a_job_that_is_not_ours_is_no_sandbox(job: dict[str, Any] | None) -> None:
    error = await _observer(_Nomad(job)).why_gone("team", "a")
    assert error.error == "sandbox_not_found"


async def test_a_tenant_does_not_see_anothers_sandbox_but_an_operator_does() -> None:
    observer = _observer(_Nomad(_job()))
    assert (await observer.why_gone("other", "a")).error == "sandbox_not_found"
    assert (await observer.look("a", tenant=None)).tenant == "team"


async def test_nodes_are_asked_for_only_to_explain_what_was_not_placed() -> None:
    placed, blocked = _Nomad(_job(), allocations=RUNNING, evaluations=BLOCKED), _Nomad(_job(), evaluations=BLOCKED)
    await _observer(placed).look("a", tenant="team")
    await _observer(blocked).look("a", tenant="team")
    assert ("nodes" in placed.asked, "nodes" in blocked.asked) == (False, True)


async def test_a_rocklet_that_does_not_answer_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rock_nomad.gateway.observer.LAST_WORD_WAIT", 0.01)
    observer = _observer(_Nomad(_job(), allocations=RUNNING), rocklets=_Rocklets(answers=False))
    with pytest.raises(Exception, match="not ready"):
        await observer.find_rocklet("team", "a")
    assert not await observer.answers("team", "a")
