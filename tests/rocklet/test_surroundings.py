import pwd
from pathlib import Path

import msgspec
import pytest

from rock.wire.errors import InvalidRequest
from rocklet.config import Settings, read_settings
from rocklet.surroundings import absolute, plan_surroundings

DIGEST = "0" * 64


def test_a_home_of_its_own_is_where_commands_start_and_what_they_call_home(settings: Settings) -> None:
    owned = msgspec.structs.replace(settings, owns_home=True)
    planned = plan_surroundings(owned, user=None, cwd=None, env={"COLOUR": "red"})
    assert (planned.cwd, planned.env["HOME"]) == (settings.home, settings.home)
    assert (planned.env["GREETING"], planned.env["COLOUR"]) == ("hello", "red")
    assert absolute("~/a/b", "path", owned) == f"{settings.home}/a/b"


def test_without_one_home_is_the_accounts(settings: Settings) -> None:
    home = plan_surroundings(settings, user=None, cwd=None, env={}).env["HOME"]
    assert home == str(Path.home())
    assert absolute("~/a", "path", settings) == f"{home}/a"


@pytest.mark.parametrize("path", ["", "a/b", "./a", "~root/x", "~"])
def test_a_relative_path_is_refused_with_what_would_do(settings: Settings, path: str) -> None:
    with pytest.raises(InvalidRequest, match=r"cwd is .*; it must be absolute, .* or begin with ~/"):
        absolute(path, "cwd", settings)


def test_commands_see_the_devices_they_were_given_and_nothing_else_the_rocklet_was_told(tmp_path: Path) -> None:
    environ = {
        "ROCKLET_SANDBOX_ID": "a",
        "ROCKLET_TOKEN_SHA256": DIGEST,
        "ROCKLET_HOME": str(tmp_path),
        "NVIDIA_VISIBLE_DEVICES": "GPU-1,GPU-2",
        "NOMAD_TOKEN": "hunter2",
    }
    planned = plan_surroundings(read_settings(["--port", "0"], environ), user=None, cwd=None, env={})
    assert planned.env["NVIDIA_VISIBLE_DEVICES"] == "GPU-1,GPU-2"
    assert not {DIGEST, "hunter2"} & set(planned.env.values())


def test_commands_see_what_the_image_says_but_how_they_are_started() -> None:
    image = {"PATH": "/opt/conda/bin:/bin", "SSL_CERT_FILE": "/opt/ca.pem", "LANG": "C"}
    others = {"HOME": "/nowhere", "TERM": "xterm", "LD_PRELOAD": "", "NOMAD_TOKEN": "hunter2", "CONSUL_HTTP_TOKEN": "x"}
    environ = {"ROCKLET_SANDBOX_ID": "a", "ROCKLET_TOKEN_SHA256": DIGEST, "ROCKLET_ENV": '{"LANG": "de"}'}
    settings = read_settings(["--port", "0"], {**image, **others, **environ})
    planned = plan_surroundings(settings, user=None, cwd=None, env={"COLOUR": "red"}).env
    home, user = planned.pop("HOME"), planned.pop("USER")
    assert home == pwd.getpwnam(user).pw_dir
    assert planned == {**image, "LANG": "de", "TERM": "dumb", "COLOUR": "red"}


def test_a_user_that_is_not_there_is_named(settings: Settings) -> None:
    with pytest.raises(InvalidRequest, match="no user 'nobody-here'"):
        plan_surroundings(settings, user="nobody-here", cwd=None, env={})
