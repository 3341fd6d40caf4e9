"""Every line with which ROLL imports from ROCK, each tried by itself; it prints those that fail."""

LINES = """
from rock.actions import BashAction, BashObservation, Command, CommandResponse, CreateBashSessionRequest
from rock.actions import Command, ReadFileRequest
from rock.actions import CreateBashSessionRequest
from rock.sdk.bench import AgentConfig
from rock.sdk.job import Job
from rock.sdk.job import JobConfig
from rock.sdk.job.operator import Operator
from rock.sdk.job.trial.harbor import HarborTrial
from rock.sdk.sandbox.agent.base import Agent
from rock.sdk.sandbox.agent.config import AgentConfig
from rock.sdk.sandbox.agent.iflow_cli import IFlowCli, IFlowCliConfig
from rock.sdk.sandbox.agent.rock_agent import RockAgent, RockAgentConfig
from rock.sdk.sandbox.agent.swe_agent import SweAgent, SweAgentConfig
from rock.sdk.sandbox.client import Sandbox
from rock.sdk.sandbox.config import SandboxConfig
from rock.sdk.sandbox.model_service.base import ModelService, ModelServiceConfig
from rock.sdk.sandbox.request import CreateBashSessionRequest
from rock.sdk.sandbox.speedup.types import SpeedupType
"""

if __name__ == "__main__":
    for line in LINES.strip().splitlines():
        try:
            exec(line)
        except ImportError as error:
            print(f"{line}: {error}")
