import pytest

from rock.wire.errors import SandboxNotFound
from rock.wire.messages import RockletEndpoint
from rock_nomad.gateway.resolver import Resolver

ENDPOINT = RockletEndpoint(sandbox_id="a", url="http://127.0.0.1:1", token="t", alloc_id="x")


class _Locator:
    def __init__(self, known: RockletEndpoint | None, found: RockletEndpoint | None) -> None:
        self.remembered, self.found, self.asked = known, found, 0

    def known(self, tenant: str, sandbox_id: str) -> RockletEndpoint | None:
        return self.remembered

    async def find(self, tenant: str, sandbox_id: str) -> RockletEndpoint | None:
        self.asked += 1
        return self.found

    def forget(self, tenant: str, endpoint: RockletEndpoint) -> None:
        self.remembered = None


class _Observer:
    def __init__(self) -> None:
        self.asked = 0

    async def why_gone(self, tenant: str, sandbox_id: str) -> SandboxNotFound:
        self.asked += 1
        return SandboxNotFound("gone")


async def test_a_known_address_asks_nobody_and_a_forgotten_one_asks_consul() -> None:
    locator, observer = _Locator(ENDPOINT, ENDPOINT), _Observer()
    resolver = Resolver(locator, observer)  # type: ignore[arg-type]  # fakes at the seams
    assert await resolver.resolve("team", "a") == ENDPOINT
    assert locator.asked == 0
    resolver.forget("team", ENDPOINT)
    assert await resolver.resolve("team", "a") == ENDPOINT
    assert (locator.asked, observer.asked) == (1, 0)


async def test_nomad_is_asked_once_and_only_about_what_consul_does_not_know() -> None:
    observer = _Observer()
    with pytest.raises(SandboxNotFound):
        await Resolver(_Locator(None, None), observer).resolve("team", "a")  # type: ignore[arg-type]
    assert observer.asked == 1
