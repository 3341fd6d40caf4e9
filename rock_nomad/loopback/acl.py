"""Tokens for a cluster that asks for them: management's, the agents', and the gateway's, which may do what it must."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rock.wire.errors import InternalServerRockError
from rock_nomad.loopback.api import Api, wait_until
from rock_nomad.shipped import shipped_file

__all__ = ["make_consul_token", "make_consul_tokens", "make_nomad_token", "make_nomad_tokens"]

_BOOTSTRAP_TIMEOUT = 30.0  # seconds until there is a leader to ask

# Consul's own agents register themselves; Nomad's agents share their token here.
_CONSUL_AGENTS = 'node_prefix "" { policy = "write" }'


def make_consul_tokens(consul: Api, agents: str) -> str:
    """Make the agents' token, of a secret that they know already, and the gateway's, which is returned.

    Raises InternalServerRockError: Consul refuses.
    """
    rules = {
        "nomad-agents": shipped_file("acl-consul-nomad.hcl").read_text(),
        "consul-agents": _CONSUL_AGENTS,
        "rock-gateway": shipped_file("acl-consul.hcl").read_text(),
    }
    for name, text in rules.items():
        _ask(consul, "/v1/acl/policy", {"Name": name, "Rules": text})
    make_consul_token(consul, "nomad-agents", "consul-agents", secret=agents)
    return make_consul_token(consul, "rock-gateway")


def make_consul_token(consul: Api, *policies: str, secret: str = "") -> str:
    """A token of these policies; `secret`, or what Consul chooses."""
    wanted = {"Policies": [{"Name": policy} for policy in policies], **({"SecretID": secret} if secret else {})}
    return str(_ask(consul, "/v1/acl/token", wanted)["SecretID"])


def make_nomad_tokens(nomad: Api) -> str:
    """Make Nomad's management token, of the secret that is shown, and the gateway's, which is returned.

    Raises InternalServerRockError: Nomad refuses.
    """
    _ask(replace(nomad, token=""), "/v1/acl/bootstrap", {"BootstrapSecret": nomad.token})
    rules = shipped_file("acl-nomad.hcl").read_text()
    _ask(nomad, "/v1/acl/policy/rock-gateway", {"Name": "rock-gateway", "Rules": rules})
    return make_nomad_token(nomad, "rock-gateway")


def make_nomad_token(nomad: Api, *policies: str) -> str:
    """A token of these policies."""
    wanted = {"Name": " ".join(policies), "Type": "client", "Policies": policies}
    return str(_ask(nomad, "/v1/acl/token", wanted)["SecretID"])


def _ask(api: Api, path: str, body: object) -> Any:  # noqa: ANN401 - decoded JSON
    """Write, as soon as there is a leader to write to."""
    replies = []

    def is_answered() -> bool:
        replies.append(api.call("PUT", path, body))
        return replies[-1].status < 500

    if not wait_until(is_answered, _BOOTSTRAP_TIMEOUT) or replies[-1].status != 200:
        said = replies[-1].data if replies else "nobody answers"
        raise InternalServerRockError(f"{api.url}{path}: {said}")
    return replies[-1].data
