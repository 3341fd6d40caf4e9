from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from rock.wire.errors import BadRequestRockError, InternalServerRockError
from rock_nomad.gem_setup import Base, find_gem_python, set_up_gem
from tests.gems import need_gem

TOO_NEW = Base("/nowhere/python", (3, 99, 0))


def _nothing(_said: str) -> None: ...


def _stand_in(folder: Path, pip: str) -> Base:
    """A program in Python's place that makes venvs whose pip does what a test tells it to."""
    program = folder / "python-of-tests"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$2" = venv ] || exit 9\n'
        f'mkdir -p "$3/bin"; echo made >> {folder}/venvs\n'
        f'printf \'#!/bin/sh\\n[ "$2" = pip ] || exit 0\\n{pip}\\n\' > "$3/bin/python"\n'
        'chmod +x "$3/bin/python"\n'
    )
    program.chmod(0o755)
    return Base(str(program), (3, 11, 2))


def test_it_is_made_once_and_found_afterwards(tmp_path: Path) -> None:
    said: list[str] = []
    base, cache = _stand_in(tmp_path, "echo Collecting numpy"), tmp_path / "cache"
    python = set_up_gem(cache, said.append, base)
    assert python == find_gem_python(cache, base)
    assert python.exists()
    assert "Collecting numpy" in said
    assert set_up_gem(cache, pytest.fail, base) == python
    assert (tmp_path / "venvs").read_text() == "made\n"


def test_two_at_once_make_one(tmp_path: Path) -> None:
    arguments = (tmp_path / "cache", _nothing, _stand_in(tmp_path, "true"))
    threads = [threading.Thread(target=set_up_gem, args=arguments) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "venvs").read_text() == "made\n"


def test_a_failure_says_what_pip_said_and_leaves_nothing_to_be_taken_for_whole(tmp_path: Path) -> None:
    base = _stand_in(tmp_path, "echo ERROR: no network; exit 1")
    with pytest.raises(InternalServerRockError, match="ERROR: no network; try again"):
        set_up_gem(tmp_path, _nothing, base)
    found = find_gem_python(tmp_path, base)
    assert found is not None
    assert not found.exists()
    assert set_up_gem(tmp_path, _nothing, _stand_in(tmp_path, "true")) == found
    assert found.exists()


def test_a_failure_is_remembered_until_somebody_wants_to_try_again_or_there_is_another_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    base, cache = _stand_in(tmp_path, "echo ERROR: no network; exit 1"), tmp_path / "cache"

    def tries(*, try_again: bool = False) -> int:
        with pytest.raises(InternalServerRockError, match="ERROR: no network"):
            set_up_gem(cache, _nothing, base, try_again=try_again)
        return len((tmp_path / "venvs").read_text().splitlines())

    assert [tries(), tries(), tries(try_again=True), tries()] == [1, 1, 2, 2]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "cc").touch(mode=0o755)
    assert [tries(), tries()] == [3, 3]
    python = set_up_gem(cache, _nothing, _stand_in(tmp_path, "true"))
    assert python.exists()
    assert list(cache.glob("*.failed")) == []


def test_a_machine_without_a_fitting_python_says_which_would_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "")
    assert find_gem_python(tmp_path, TOO_NEW) is None
    with pytest.raises(BadRequestRockError, match=r"Python 3.10 to 3.12.0, and this machine has none"):
        set_up_gem(tmp_path, _nothing, TOO_NEW)


def test_another_python_of_the_machine_does_where_ours_is_too_new(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, version in (("python3.11", "3 12 1"), ("python3.10", "3 10 4")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_gem_python(tmp_path, TOO_NEW) == find_gem_python(tmp_path, Base("", (3, 10, 4)))


@pytest.mark.slow
def test_the_real_one_has_gem() -> None:
    ran = subprocess.run([need_gem(), "-I", "-c", "import gem; print(gem.make)"], capture_output=True, text=True)
    assert "function make" in ran.stdout
