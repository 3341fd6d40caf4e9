"""The images and the registry that other tests stand on are what they say."""

from __future__ import annotations

import pytest
from docker.errors import APIError

from tests.engine import PASSWORD, USERNAME, Engine, Registry

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("image", "script", "said"),
    [
        ("busybox", "id -u; ls /lib 2>&1 | tail -c 26", "0\nNo such file or directory\n"),
        ("python", "bash -c 'echo $((6 * 7))'; python3 -c 'import ssl, sqlite3, unittest; print(1)'", "42\n1\n"),
    ],
)
def test_an_image_has_what_it_should(engine: Engine, image: str, script: str, said: str) -> None:
    client = engine.client
    container = client.create_container(getattr(engine, image), ["/bin/sh", "-c", script], labels=engine.labels)["Id"]
    try:
        client.start(container)
        assert client.wait(container)["StatusCode"] == 0, client.logs(container)
        assert client.logs(container).decode() == said
    finally:
        client.remove_container(container, force=True)


@pytest.mark.parametrize(
    ("account", "refused"),
    [
        (None, "no basic auth credentials"),
        ({"username": USERNAME, "password": "wrong"}, "unauthorized"),
        ({"username": USERNAME, "password": PASSWORD}, None),
    ],
    ids=["nobody", "wrong", "right"],
)
def test_the_registry_asks_for_the_password(
    engine: Engine, registry: Registry, account: dict[str, str] | None, refused: str | None
) -> None:
    image = registry.push(engine.busybox, "private/box")
    try:
        engine.client.pull(image, auth_config=account)
        assert refused is None
    except APIError as error:
        assert refused is not None
        assert refused in str(error)
    finally:
        registry.forget(image)
