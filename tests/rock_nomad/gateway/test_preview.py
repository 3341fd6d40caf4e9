import pytest

from rock.wire.errors import InvalidRequest
from rock.wire.messages import CreateSandboxRequest
from rock.wire.operations import GET_CLUSTER, LIST_SANDBOXES, PLAN_SANDBOX, RENDER_JOB
from tests.gateways import Gateway, small

pytestmark = pytest.mark.slow


async def test_a_rendered_job_is_shown_and_not_registered(gateway: Gateway) -> None:
    rendered = await gateway.call(RENDER_JOB, CreateSandboxRequest(spec=small("shown")))
    assert (rendered.job["ID"], rendered.job["Type"]) == ("sbx-shown", "batch")
    assert (await gateway.call(LIST_SANDBOXES)).sandboxes == []


async def test_a_plan_tells_what_fits_from_what_waits_and_what_can_never_be(gateway: Gateway) -> None:
    fits = await gateway.call(PLAN_SANDBOX, CreateSandboxRequest(spec=small()))
    assert (fits.fits, fits.impossible) == (True, False)
    assert "image" in fits.warnings[0]
    huge = await gateway.call(PLAN_SANDBOX, CreateSandboxRequest(spec=small(memory_bytes=900 * 2**30)))
    assert (huge.fits, huge.impossible) == (False, True)
    assert "asked 900 GB" in huge.message
    await gateway.create(cpus=0.6 * gateway.cpus)
    busy = await gateway.call(PLAN_SANDBOX, CreateSandboxRequest(spec=small(cpus=0.6 * gateway.cpus)))
    assert (busy.fits, busy.impossible) == (False, False)


async def test_what_the_cluster_does_not_offer_is_refused_by_name(gateway: Gateway) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await gateway.call(PLAN_SANDBOX, CreateSandboxRequest(spec=small(isolation="kata")))
    assert caught.value.details["field"] == "isolation"


async def test_a_cluster_says_whether_its_nomad_is_a_real_one(gateway: Gateway) -> None:
    said = await gateway.call(GET_CLUSTER)
    assert said.embedded == (said.nomad == "rock-nomad-embedded")
    assert said.embedded or (said.nomad.startswith("nomad ") and said.consul.startswith("consul "))
