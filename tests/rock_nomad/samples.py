"""Specs, jobs and recorded answers that several tests of the control plane begin with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rock.wire.spec import SandboxSpec
from rock_nomad.config import ClusterProfile
from rock_nomad.jobspec import load_base_job, render_job

RECORDINGS = Path(__file__).parents[1] / "recordings"
BASE = load_base_job()
PROFILE = ClusterProfile(
    name="here", isolations=("runc", "gvisor", "kata", "exec", "raw_exec", "mock"), default_isolation="raw_exec"
)


def recording(name: str) -> Any:  # noqa: ANN401 - decoded JSON
    """What a real Nomad or Consul once answered."""
    return json.loads((RECORDINGS / f"{name}.json").read_text())


def recorded_allocations(name: str) -> list[dict[str, Any]]:
    """The allocations of a recording, which may be one or a list."""
    answer = recording(name)
    return answer if isinstance(answer, list) else [answer]


def render(
    spec: SandboxSpec | None = None, *, sandbox_id: str = "a", profile: ClusterProfile = PROFILE
) -> dict[str, Any]:
    """The job of a sandbox whose other facts do not matter."""
    return render_job(
        spec or SandboxSpec(),
        sandbox_id=sandbox_id,
        tenant="red",
        digest="d" * 64,
        token_sha256="e" * 64,
        secret_name="5ec0de",
        profile=profile,
        base=BASE,
    )
