from __future__ import annotations

import pytest
from docker.errors import DockerException

from rock_nomad.embedded.drivers import images
from rock_nomad.embedded.drivers.driver import StartRefused
from rock_nomad.embedded.drivers.images import ensure_image
from tests.engine import Engine

Said = list[tuple[str, dict[str, str]]]


class Puller:
    """An engine's pull, as docs.docker.com/engine/api/v1.41 describes what it answers."""

    def __init__(self, *lines: dict[str, object]) -> None:
        self.lines, self.asked = lines, dict[str, object]()

    def pull(self, repository: str, tag: str, **options: object) -> list[dict[str, object]]:
        self.asked = {"image": (repository, tag), "auth": options["auth_config"]}
        return list(self.lines)


LAYERS: tuple[dict[str, object], ...] = (
    {"status": "Pulling fs layer", "id": "a"},
    {"status": "Pulling fs layer", "id": "b"},
    {"status": "Downloading", "id": "a", "progressDetail": {"current": 2**20, "total": 4 * 2**20}},
    {"status": "Pull complete", "id": "b"},
)


def ensure(puller: object, **config: str) -> Said:
    said: Said = []
    ensure_image(puller, {"image": "r.test/box:1", "force_pull": True, **config}, {}, lambda *one: said.append(one))
    return said


@pytest.mark.parametrize(
    ("image", "asked", "shown"),
    [
        ("r.test:5000/a/b:1", ("r.test:5000/a/b", "1"), "r.test:5000/a/b:1"),
        ("python", ("python", "latest"), "python:latest"),
        ("a@sha256:0f", ("a", "sha256:0f"), "a@sha256:0f"),
    ],
)
def test_an_image_is_asked_for_by_repository_and_tag(image: str, asked: tuple[str, str], shown: str) -> None:
    puller = Puller()
    assert ensure(puller, image=image) == [("Downloading image", {"image": shown})]
    assert puller.asked == {"image": asked, "auth": None}


def test_a_pull_that_takes_its_time_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "REPORT_INTERVAL", -1.0)
    *_, last = ensure(Puller(*LAYERS))
    said = "Docker image pull progress: Pulled 1/2 (1MiB/4MiB) layers: 0 waiting/1 pulling"
    assert last == (said, {"image": "r.test/box:1"})


def test_a_failure_in_the_midst_is_the_engines_own_text() -> None:
    with pytest.raises(StartRefused, match=r"^Failed to pull `r.test/box:1`: unexpected EOF$"):
        ensure(Puller({"error": "unexpected EOF"}))


def test_a_pull_beyond_its_timeout_is_given_up() -> None:
    with pytest.raises(StartRefused, match=r"Failed to pull .*deadline exceeded"):
        ensure(Puller(*LAYERS), image_pull_timeout="0s")


def test_an_engine_that_is_gone_is_a_refusal() -> None:
    class Gone:
        def pull(self, *_arguments: object, **_options: object) -> None:
            raise DockerException("no engine")

    with pytest.raises(StartRefused, match=r"Failed to pull .*no engine"):
        ensure(Gone())


@pytest.mark.slow
def test_an_image_that_is_there_is_not_pulled(engine: Engine) -> None:
    said: Said = []
    ensure_image(engine.client, {"image": engine.busybox}, {}, lambda *one: said.append(one))
    assert said == []
