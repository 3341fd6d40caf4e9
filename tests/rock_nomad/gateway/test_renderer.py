from rock.wire.spec import SandboxSpec
from rock_nomad.config import ClusterProfile
from rock_nomad.gateway.renderer import Renderer
from rock_nomad.jobspec import load_base_job
from rock_nomad.tokens import Secrets, sha256_hex

TOKENS = Secrets(b"s" * 32)
RENDERER = Renderer(
    ClusterProfile(name="here", default_isolation="raw_exec", isolations=("raw_exec",)), load_base_job(), TOKENS
)


def test_a_spec_keeps_its_own_id_whatever_the_key() -> None:
    sandbox_id, job = RENDERER.render(SandboxSpec(sandbox_id="mine"), tenant="team", idempotency_key="k")
    assert (sandbox_id, job["ID"]) == ("mine", "sbx-mine")


def test_a_key_makes_the_same_id_for_its_tenant_on_every_replica() -> None:
    ids = [RENDERER.render(SandboxSpec(), tenant=tenant, idempotency_key="k")[0] for tenant in ("a", "a", "b")]
    assert ids[0] == ids[1] != ids[2]


def test_without_a_key_every_sandbox_is_a_new_one() -> None:
    assert RENDERER.render(SandboxSpec(), tenant="a")[0] != RENDERER.render(SandboxSpec(), tenant="a")[0]


def test_the_job_says_whose_it_is_and_holds_no_token() -> None:
    sandbox_id, job = RENDERER.render(SandboxSpec(), tenant="team")
    token = TOKENS.token("team", sandbox_id)
    assert (job["Meta"]["tenant"], job["Meta"]["managed_by"]) == ("team", "here")
    assert token not in repr(job)
    assert sha256_hex(token) in repr(job)
