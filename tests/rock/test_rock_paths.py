"""The package's own namespace, and ROCK's module paths: re-exports without logic."""

from __future__ import annotations

import importlib
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rock

PATHS = {
    "rock.actions": "Action BashAction BashObservation CloseBashSessionRequest CloseSessionRequest Command "
    "CommandResponse CreateBashSessionRequest CreateBashSessionResponse CreateSessionRequest Env IsAliveResponse "
    "Observation ReadFileRequest ReadFileResponse RunMode SandboxResponse SandboxStatusResponse UploadMode "
    "UploadRequest UploadResponse WriteFileRequest WriteFileResponse",
    "rock.actions.envs.base": "Env",
    "rock.actions.envs.request": "EnvCloseRequest EnvMakeRequest EnvResetRequest EnvStepRequest",
    "rock.actions.envs.response": "EnvCloseResponse EnvListResponse EnvMakeResponse EnvResetResponse EnvStepResponse",
    "rock.actions.response": "BaseResponse ResponseStatus RockResponse",
    "rock.actions.sandbox.base": "AbstractSandbox _ExceptionTransfer",
    "rock.actions.sandbox.config": "RemoteSandboxRuntimeConfig RockletConfig SandboxRuntimeConfig",
    "rock.common.constants": "PID_PREFIX PID_SUFFIX",
    "rock.common.validation": "NonBlankStr",
    "rock.sdk.common.constants": "RunModeType",
    "rock.sdk.sandbox.deploy": "Deploy",
    "rock.sdk.sandbox.file_system": "FileSystem LinuxFileSystem",
    "rock.sdk.sandbox.network": "Network",
    "rock.sdk.sandbox.process": "Process",
    "rock.sdk.sandbox.remote_user": "LinuxRemoteUser RemoteUser",
    "rock.sdk.sandbox.speedup": "SpeedupType",
    "rock.sdk.sandbox.speedup.types": "SpeedupType",
    "rock.actions.sandbox.request": "ChmodRequest ChownRequest Command CreateBashSessionRequest",
    "rock.actions.sandbox.response": "ChmodResponse ChownResponse DownloadFileResponse State StateTransitionRecord",
    "rock.sdk.sandbox.client": "RunMode Sandbox SandboxGroup",
    "rock.sdk.sandbox.config": "BaseConfig SandboxConfig SandboxGroupConfig",
    "rock.sdk.sandbox.request": "CreateBashSessionRequest Command RunMode",
    "rock.sdk.sandbox.response": "SandboxStatusResponse",
    "rock.sdk.common.exceptions": "BadRequestRockError CommandRockError InternalServerRockError "
    "InvalidParameterRockException RockException raise_for_code",
    "rock.sdk.envs": "RockEnv make",
    "rock.sdk.envs.registration": "make",
    "rock.sdk.envs.rock_env": "RockEnv",
    "rock._codes": "codes",
    "rock.sdk.sandbox.runtime_env": "NodeRuntimeEnvConfig PythonRuntimeEnvConfig RuntimeEnvConfig",
    "rock.sdk.sandbox.utils": "arun_with_retry with_time_logging",
    "rock.utils": "AsyncAtomicInt AsyncSafeDict Timer extract_nohup_pid find_free_port retry_async run_until_complete",
    "rock.utils.deprecated": "deprecated",
    "rock.utils.format": "convert_to_gb parse_size_to_bytes",
    "rock.utils.http": "wait_until_alive",
    "rock.utils.importer": "can_import_class safe_import_class",
    "rock.utils.retry": "retry_async",
    "rock.utils.system": "find_free_port get_iso8601_timestamp release_port run_shell_command",
}
_HEAVY = ("aiohttp", "pydantic", "asyncio", "msgspec")
_SERVERS = ("rock_nomad", "rocklet", "nomad", "consul", "typer", "rich", "yaml", "uvloop")


@pytest.mark.parametrize("path", PATHS)
def test_rocks_path_has_rocks_names(path: str) -> None:
    module = importlib.import_module(path)
    assert set(PATHS[path].split()) <= set(module.__all__)


def test_a_name_is_the_same_class_wherever_it_is_imported_from() -> None:
    for path, names in PATHS.items():
        for name in names.split():
            if name in rock.__all__:
                assert getattr(importlib.import_module(path), name) is getattr(rock, name)


def test_every_public_name_can_be_imported_and_none_else() -> None:
    for name in rock.__all__:
        assert getattr(rock, name) is not None
    assert set(rock.__all__) <= set(dir(rock))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(rock, "nothing")  # noqa: B009 - mypy knows that it is not there


def _loaded(program: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after a program."""
    show = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = subprocess.run(
        [sys.executable, "-c", f"{program}\n{show}"], capture_output=True, text=True, check=True, timeout=60
    )
    return set(ran.stdout.split())


@pytest.mark.slow
def test_importing_the_package_loads_next_to_nothing() -> None:
    assert not _loaded("import rock") & {*_HEAVY, *_SERVERS}


@pytest.mark.slow
def test_a_tree_of_two_distributions_says_which_and_what_to_do(tmp_path: Path) -> None:
    shutil.copytree(Path(rock.__path__[0]), tmp_path / "rock")
    (tmp_path / "rock" / "admin").mkdir()
    program = "import sys; sys.path.insert(0, sys.argv[1]); import rock"
    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False, timeout=60
    )
    said = ran.stderr.splitlines()[-1]
    assert said.startswith(f"ImportError: {tmp_path}/rock holds files of both rock-nomad and rl-rock")
    assert "pip uninstall -y rl-rock rock-nomad && pip install rock-nomad" in said


@pytest.mark.slow
def test_using_the_client_loads_no_server() -> None:
    assert not _loaded("import rock.sdk.sandbox.client; rock.SyncSandbox") & set(_SERVERS)


def test_the_logger_has_a_handler_that_says_nothing() -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("rock").handlers)
