"""ROCK's names that are not there yet: they import and say so when they are called."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import subprocess
import sys
from abc import ABC
from typing import Any

import cloudpickle
import pytest
from pydantic import BaseModel, ValidationError

from rock._absent import AbsentPaths, absent_name
from rock._absent_names import ABSENT
from rock.errors import BadRequestRockError, NotInThisClient

AGENT = "rock.sdk.sandbox.agent.base"


@pytest.fixture
def agent() -> Any:  # noqa: ANN401 - what stands for any name
    return absent_name(AGENT, "Agent")


@pytest.mark.parametrize("module", sorted(ABSENT))
def test_every_module_of_the_table_imports_and_has_its_names(module: str) -> None:
    loaded = importlib.import_module(module)
    assert all(getattr(loaded, name) is not None for name in ABSENT[module])


def test_a_name_is_the_same_wherever_it_is_imported_from() -> None:
    bench, trial = (importlib.import_module(f"rock.sdk.bench{path}") for path in ("", ".models.trial.config"))
    assert bench.AgentConfig is trial.AgentConfig


def test_calling_names_what_is_missing(agent: Any) -> None:  # noqa: ANN401 - likewise
    for call, name in ((agent, "Agent"), (agent.install, "Agent.install"), (agent.a.b, "Agent.a.b")):
        with pytest.raises(NotInThisClient, match=rf"^{AGENT}.{name} is not in this client yet$") as caught:
            call("whatever", key="word")
        assert isinstance(caught.value, (BadRequestRockError, NotImplementedError))


def test_it_can_be_a_base_an_annotation_and_a_parameter(agent: Any) -> None:  # noqa: ANN401 - likewise
    class Mine(agent, ABC):  # type: ignore[misc]  # a value to mypy
        limit: int = 3

        async def run(self, prompt: str) -> None: ...

    assert Mine.limit == 3
    assert agent | None
    assert agent[int] is agent
    assert not isinstance(Mine, agent)
    with pytest.raises(NotInThisClient, match=r"base\.Agent is not"):
        Mine()


def test_a_model_may_have_a_field_of_its_type(agent: Any) -> None:  # noqa: ANN401 - likewise
    class Settings(BaseModel):
        one: agent | None = None

    assert Settings().one is None
    with pytest.raises(ValidationError):
        Settings(one="x")


def test_it_pickles_and_copies_by_its_name(agent: Any) -> None:  # noqa: ANN401 - likewise
    for value in (agent, agent.install):
        twins = (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), cloudpickle.loads(cloudpickle.dumps(value)))
        assert all(twin is value for twin in twins)


def test_what_is_in_no_table_is_missing_as_usual(agent: Any) -> None:  # noqa: ANN401 - likewise
    for name in ("rock.sdk.nothing", "rock.sdk.job.nothing", "rock.wire.nothing"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        absent_name(AGENT, "nothing")
    with pytest.raises(AttributeError):
        _ = agent.__wrapped__
    assert AbsentPaths.find_spec("elsewhere.rock") is None
    assert repr(agent) == f"<{AGENT}.Agent, not in this client yet>"
    assert inspect.isclass(agent)
    assert "Agent" in dir(importlib.import_module(AGENT))


@pytest.mark.slow
def test_rolls_import_lines_work() -> None:
    program = (
        "from rock.actions import CreateBashSessionRequest, Action, Command, Observation\n"
        "from rock.sdk.bench import AgentConfig\n"
        "from rock.sdk.job import Job, JobConfig, JobResult\n"
        "from rock.sdk.job.operator import ScatterOperator\n"
        "from rock.sdk.job.trial.harbor import HarborTrial\n"
        "from rock.sdk.sandbox.agent.base import Agent\n"
        "from rock.sdk.sandbox.agent.config import AgentBashCommand, AgentConfig\n"
        "from rock.sdk.sandbox.agent.iflow_cli import IFlowCli, IFlowCliConfig\n"
        "from rock.sdk.sandbox.agent.rock_agent import RockAgent, RockAgentConfig\n"
        "from rock.sdk.sandbox.agent.swe_agent import SweAgent, SweAgentConfig\n"
        "from rock.sdk.sandbox.client import Sandbox, SandboxGroup, RunMode\n"
        "from rock.sdk.sandbox.config import SandboxConfig, SandboxGroupConfig\n"
        "from rock.sdk.sandbox.model_service.base import ModelService, ModelServiceConfig\n"
        "from rock.sdk.sandbox.speedup.types import SpeedupType\n"
        "from rock.utils import HttpUtils\n"
        "class Mine(Agent):\n"
        "    config: AgentConfig | None = None\n"
        "Sandbox(SandboxConfig()).agent = None\n"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
