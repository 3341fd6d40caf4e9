from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from rock.wire.errors import InternalServerRockError
from rock_nomad.bundle import bundle_command, interpreter_command
from rock_nomad.bundle.build import archive_bundle, ensure_bundle, ensure_cached_bundle, make_current, try_bundle
from tests.bundles import need_bundle

pytestmark = pytest.mark.slow


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that was built just now, by somebody with a strict umask."""
    need_bundle()
    before = os.umask(0o077)
    try:
        return ensure_bundle(tmp_path_factory.mktemp("bundles"))
    finally:
        os.umask(before)


def test_the_same_inputs_give_the_same_bytes_wherever_it_is_built(fresh: Path) -> None:
    assert fresh.name == need_bundle().name
    assert _digests(fresh) == _digests(need_bundle())


def test_what_is_there_is_not_built_again(fresh: Path) -> None:
    assert ensure_bundle(fresh.parent, pytest.fail) == fresh


def test_it_is_small(fresh: Path) -> None:
    if shutil.which("strip") is None:
        pytest.skip("no strip: debug symbols stay in")
    assert sum(path.stat().st_size for path in fresh.rglob("*") if path.is_file()) < 60 * 10**6


def test_whoever_an_image_runs_as_can_read_it(fresh: Path) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (fresh, *fresh.rglob("*"))}
    assert modes == {0o755, 0o644}


def test_its_manifest_says_what_it_was_made_of(fresh: Path) -> None:
    manifest = json.loads((fresh / "MANIFEST.json").read_text())
    assert fresh.name.endswith(manifest["sha256"][:12])
    assert {"rock-nomad", "python", "libc", "aiohttp", "uvloop"} <= manifest["versions"].keys()
    libc = hashlib.sha256((fresh / "lib" / "libc.so.6").read_bytes()).hexdigest()
    assert len(manifest["inputs"]["lib/libc.so.6"]) == len(libc)


def test_its_archive_runs_wherever_it_is_unpacked(fresh: Path, tmp_path: Path) -> None:
    archive, digest = archive_bundle(fresh)
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == digest
    with tarfile.open(archive) as tar:
        assert {(entry.mtime, entry.uid, entry.uname) for entry in tar} == {(0, 0, "")}
    (tmp_path / "elsewhere").mkdir()
    # By the program: what is safe has another spelling in each Python from 3.11.2 on.
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path / "elsewhere"], check=True)
    try_bundle(tmp_path / "elsewhere")
    assert _digests(tmp_path / "elsewhere") == _digests(fresh)


def test_the_same_bundle_gives_the_same_archive(fresh: Path) -> None:
    archive, digest = archive_bundle(fresh)
    archive.unlink()
    assert archive_bundle(fresh) == (archive, digest)


def test_current_is_the_last_one_built(tmp_path: Path) -> None:
    for name in ("rocklet-1", "rocklet-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
        assert list(make_current(tmp_path / name).iterdir()) == [tmp_path / "current" / name]


def test_a_cache_keeps_what_is_asked_for_and_lets_the_rest_go(tmp_path: Path) -> None:
    own = tmp_path / "own-bundles"
    for name, age_days in (("rocklet-old", 8), ("rocklet-recent", 6)):
        (own / name / "lib").mkdir(parents=True)
        (own / f"{name}.tar.gz").touch()
        for path in (own / name, own / f"{name}.tar.gz"):
            os.utime(path, (time.time() - age_days * 86_400,) * 2)
    (own / need_bundle().name).symlink_to(need_bundle())  # so that none has to be built
    assert ensure_cached_bundle(tmp_path) == own / need_bundle().name
    kept = {path.name for path in own.iterdir() if not path.name.endswith(".lock")}
    assert kept == {"rocklet-recent", "rocklet-recent.tar.gz", need_bundle().name}


def test_one_that_lacks_a_library_is_refused(fresh: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(fresh, broken, copy_function=os.link)
    (broken / "lib" / "libcrypto.so.3").unlink()
    with pytest.raises(InternalServerRockError, match="libcrypto"):
        try_bundle(broken)


def test_nothing_in_its_surroundings_leads_it_astray(fresh: Path) -> None:
    astray = dict.fromkeys(("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "PYTHONSTARTUP"), "/nowhere")
    environment = {**astray, "LANG": "tlh_QO", "LC_ALL": "tlh_QO.ISO-8859-1"}
    program = "import sys, os; print(sys.getfilesystemencoding(), sys.flags.no_site, os.fsencode('ü'))"
    command = [*interpreter_command(str(fresh)), "-c", program]
    ran = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("utf-8 1 b'\\xc3\\xbc'\n", "")


def test_a_rocklet_that_is_told_nothing_says_what_it_needs(fresh: Path) -> None:
    ran = subprocess.run(bundle_command(str(fresh)), env={}, capture_output=True, text=True, check=False)
    assert ran.stderr == "rocklet: ROCKLET_PORT is not set; set it, or give --port N\n"
