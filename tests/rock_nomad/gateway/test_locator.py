import asyncio
import statistics
import time

import pytest

from rock.wire.errors import SandboxUnreachable
from rock.wire.messages import RockletEndpoint
from rock_nomad.consul import Consul, Service
from rock_nomad.gateway.locator import AddressBook, Locator
from rock_nomad.names import service_name
from rock_nomad.tokens import Secrets
from tests.cluster import Cluster

SECRETS = Secrets(b"n" * 32, b"o" * 32)
OLD = Secrets(b"o" * 32)


def _endpoint(sandbox_id: str, port: int = 1) -> RockletEndpoint:
    return RockletEndpoint(sandbox_id=sandbox_id, url=f"http://127.0.0.1:{port}", token="t", alloc_id="a")


def test_an_address_is_known_until_it_is_too_old() -> None:
    now = 0.0
    book = AddressBook(max_age=10, now=lambda: now)
    book.note("team", _endpoint("a"))
    now = 10.0
    assert book.look_up("team", "a") == _endpoint("a")
    now = 10.1
    assert book.look_up("team", "a") is None
    assert len(book) == 0


def test_a_full_book_drops_what_was_used_least() -> None:
    book = AddressBook(size=2)
    for name in ("a", "b"):
        book.note("team", _endpoint(name))
    book.look_up("team", "a")
    book.note("team", _endpoint("c"))
    assert [book.look_up("team", name) is not None for name in ("a", "b", "c")] == [True, False, True]


def test_a_failed_address_is_dropped_but_not_the_better_one_noted_meanwhile() -> None:
    book = AddressBook()
    book.note("team", _endpoint("a", 1))
    book.note("team", _endpoint("a", 2))
    book.forget("team", _endpoint("a", 1))
    assert book.look_up("team", "a") == _endpoint("a", 2)
    book.forget("team", _endpoint("a", 2))
    assert book.look_up("team", "a") is None


def test_tenants_have_books_of_their_own() -> None:
    book = AddressBook()
    book.note("team", _endpoint("a"))
    assert book.look_up("other", "a") is None


class _Consul:
    def __init__(self, **meta: str) -> None:
        self.meta, self.asked = meta, list[str]()

    async def find_rocklet(self, name: str) -> Service | None:
        self.asked.append(name)
        if not self.meta:
            return None
        return Service(address="10.0.0.1", port=7, meta=self.meta, status="passing", alloc_id="alloc")


def _locator(consul: _Consul) -> Locator:
    return Locator(consul, SECRETS, AddressBook(), cluster="here")  # type: ignore[arg-type]  # a fake at the seam


async def test_a_found_rocklet_is_remembered_with_the_token_of_its_own_secret() -> None:
    consul = _Consul(tenant="team", managed_by="here", secret=OLD.name)
    locator = _locator(consul)
    endpoint = await locator.find("team", "a")
    assert endpoint == locator.known("team", "a")
    assert endpoint == RockletEndpoint(
        sandbox_id="a", url="http://10.0.0.1:7", token=OLD.token("team", "a"), alloc_id="alloc"
    )
    assert consul.asked == ["rocklet-a"]


@pytest.mark.parametrize(("tenant", "managed_by"), [("other", "here"), ("team", "elsewhere")])
async def test_a_foreign_rocklet_is_as_good_as_none(tenant: str, managed_by: str) -> None:
    locator = _locator(_Consul(tenant=tenant, managed_by=managed_by, secret=SECRETS.name))
    assert await locator.find("team", "a") is None
    assert locator.known("team", "a") is None


async def test_a_rocklet_nobody_knows_is_none() -> None:
    assert await _locator(_Consul()).find("team", "a") is None


async def test_a_secret_this_gateway_lacks_is_named_as_the_cause() -> None:
    with pytest.raises(SandboxUnreachable, match="secret"):
        await _locator(_Consul(tenant="team", managed_by="here", secret="gone")).find("team", "a")


# ----------------------------------------------------------------------------------------------------- on a real Consul

NAMES = 10_000
_BATCH = 64  # operations that Consul takes in one transaction
_LOOKS = 50


def _register(cluster: Cluster, names: list[str]) -> None:
    """Register rocklets of these names on a node that has no agent, which would take them for mistakes."""
    cluster.consul("PUT", "/v1/catalog/register", {"Node": "crowd", "Address": "127.0.0.1"})
    meta = {"tenant": "team", "managed_by": "here", "secret": SECRETS.name}
    for batch in (names[begin : begin + _BATCH] for begin in range(0, len(names), _BATCH)):
        services = [{"ID": name, "Service": name, "Port": 1, "Meta": meta} for name in batch]
        said = cluster.consul(
            "PUT", "/v1/txn", [{"Service": {"Verb": "set", "Node": "crowd", "Service": each}} for each in services]
        )
        assert said.status == 200, said.data


async def _seconds_for_a_name(consul: Consul) -> float:
    """The median of some look-ups, each by a locator that remembers nothing."""
    taken = []
    for number in range(_LOOKS):
        locator = Locator(consul, SECRETS, AddressBook(), cluster="here")
        began = time.perf_counter()
        assert await locator.find("team", str(number)) is not None
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


@pytest.mark.slow
@pytest.mark.needs("10,000 services")
async def test_a_name_among_ten_thousand_is_found_as_fast_as_one_among_fifty(cluster: Cluster) -> None:
    names = [service_name(str(number)) for number in range(NAMES)]
    try:
        await asyncio.to_thread(_register, cluster, names[:_LOOKS])
        async with Consul(cluster.consul_config()) as consul:
            alone = await _seconds_for_a_name(consul)
            await asyncio.to_thread(_register, cluster, names)
            crowded = await _seconds_for_a_name(consul)
    finally:
        cluster.consul("PUT", "/v1/catalog/deregister", {"Node": "crowd"})
    # Two hundred times as many names; what grew with them would show beyond any noise.
    assert crowded < 10 * alone + 0.005
