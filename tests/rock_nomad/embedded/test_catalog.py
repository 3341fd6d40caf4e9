from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock_nomad.embedded.catalog import Catalog, Check, Instance
from tests.rock_nomad.embedded import recordings
from tests.rock_nomad.embedded.recordings import compare

CHECK = Check("check-1", "alive", "http://127.0.0.1:1/", interval=1, timeout=1)
INSTANCE = Instance(
    "id-1", "rocklet-t1", "127.0.0.1", 24584, ("rocklet",),
    {"alloc_id": "a", "external-source": "nomad", "sandbox_id": "t1"}, (CHECK,),
)  # fmt: skip


@pytest.fixture
def catalog() -> Catalog:
    return Catalog("e1fb7944-183a-cb27-e9c9-47b3a0590c95", "vm")


def test_health_reads_as_recorded(catalog: Catalog) -> None:
    catalog.register(INSTANCE)
    catalog.report_check(INSTANCE, "check-1", "passing", "HTTP GET ...")
    assert compare(recordings.load("consul-health"), catalog.health("rocklet-t1", passing=True)) == []
    assert catalog.services() == {"consul": [], "rocklet-t1": ["rocklet"]}


def test_only_passing_is_passing(catalog: Catalog) -> None:
    catalog.register(INSTANCE)
    assert catalog.health("rocklet-t1", passing=True) == []
    assert len(catalog.health("rocklet-t1", passing=False)) == 1


def test_a_check_counts_when_its_status_changes(catalog: Catalog) -> None:
    catalog.register(INSTANCE)
    registered = catalog.service_index("rocklet-t1")
    catalog.report_check(INSTANCE, "check-1", "critical", "still")
    assert catalog.service_index("rocklet-t1") == registered
    catalog.report_check(INSTANCE, "check-1", "passing", "well")
    assert catalog.service_index("rocklet-t1") > registered


def test_a_name_sleeps_through_everybody_elses_changes(catalog: Catalog) -> None:
    assert catalog.service_index("unborn") == 1
    catalog.register(INSTANCE)
    assert catalog.service_index("unborn") == 1
    assert catalog.services_index() == catalog.service_index("rocklet-t1")


def test_deregistering_twice_is_fine_and_late_checks_are_ignored(catalog: Catalog) -> None:
    catalog.register(INSTANCE)
    catalog.deregister(INSTANCE)
    gone = catalog.index
    catalog.deregister(INSTANCE)
    catalog.report_check(INSTANCE, "check-1", "passing", "")
    assert (catalog.index, catalog.health("rocklet-t1", passing=False)) == (gone, [])


def test_compare_and_set_writes_once(catalog: Catalog) -> None:
    assert catalog.put("k", b"1", cas=0)
    assert not catalog.put("k", b"2", cas=0)
    index, (row,) = catalog.get("k")
    assert (row["Value"], row["ModifyIndex"]) == ("MQ==", index)
    assert catalog.put("k", b"2", cas=index)
    assert not catalog.put("k", b"3", cas=index)
    assert not catalog.delete("k", cas=index)
    assert catalog.delete("k", cas=catalog.get("k")[0])
    assert catalog.get("k")[1] == []


def test_a_deletion_is_newer_than_what_it_deleted(catalog: Catalog) -> None:
    catalog.put("a/b", b"")
    under, single = catalog.get_under("a/")[0], catalog.get("a/b")[0]
    catalog.delete("a/", recurse=True)
    assert catalog.get_under("a/")[0] > under
    assert catalog.get("a/b")[0] > single


def test_keys_are_cut_at_the_separator(catalog: Catalog) -> None:
    for key in ("a/x", "a/y/1", "a/y/2", "b"):
        catalog.put(key, b"")
    assert catalog.keys_under("a/", "/")[1] == ["a/x", "a/y/"]
    assert catalog.keys_under("", "")[1] == ["a/x", "a/y/1", "a/y/2", "b"]


async def test_a_write_wakes_who_waits_for_its_key_or_prefix(catalog: Catalog) -> None:
    async with asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(catalog.watches.wait(key)) for key in (("key", "a/b"), ("prefix", "a/"))]
        other = tasks.create_task(catalog.watches.wait(("prefix", "b/")))
        await asyncio.sleep(0)
        catalog.put("a/b", b"")
        await asyncio.gather(*waits)
        assert not other.done()
        other.cancel()


@pytest.mark.slow
@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.binary(max_size=3)), max_size=30))
def test_the_index_never_falls_and_keys_hold_the_last_write(writes: list[tuple[bool, str, bytes]]) -> None:
    catalog, expected = Catalog("id", "vm"), dict[str, bytes]()
    for is_put, key, value in writes:
        before = catalog.get(key)[0]
        if is_put:
            catalog.put(key, value)
            expected[key] = value
        else:
            catalog.delete(key)
            expected.pop(key, None)
        assert catalog.get(key)[0] >= before
    assert {row["Key"] for row in catalog.get_under("")[1]} == expected.keys()
