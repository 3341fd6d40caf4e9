from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from rock_nomad.loopback.configs import Plan, Tokens, render_configs, write_configs
from rock_nomad.loopback.places import Place
from rock_nomad.loopback.settings import NodeSettings, Settings

TOKENS = Tokens("nomad-secret", "consul-secret", "agents-secret")


def plan(settings: Settings, *, tls: bool = False) -> Plan:
    names = ("ca_file", "cert_file", "key_file")
    certificate = {name: f"/tls/{name}" for name in names} if tls else None
    return Plan(Place(Path("/place"), 10_000), settings, TOKENS if settings.acl else None, certificate)


def ports(value: Any) -> list[int]:  # noqa: ANN401 - a configuration
    return [port for port in value["ports"].values() if port != -1]


def test_every_agent_has_a_folder_and_ports_of_its_own() -> None:
    configs = render_configs(plan(Settings(nodes=(NodeSettings(),) * 3)))
    assert [*configs] == [
        *("consul", "server", "node-0-consul", "node-0", "node-1-consul", "node-1", "node-2-consul", "node-2")
    ]
    assert len({config["data_dir"] for config in configs.values()}) == len(configs)
    listening = [port for name in ("consul", "server") for port in ports(configs[name])]
    listening += [configs[f"node-{node}"]["ports"]["http"] for node in range(3)]
    listening += [configs[f"node-{node}-consul"]["ports"][part] for node in range(3) for part in ("http", "serf_lan")]
    assert len(set(listening)) == len(listening)
    assert all(configs[name]["bind_addr"] == "127.0.0.1" for name in configs)


def test_what_a_node_is_told_is_laid_over_what_suits_sandboxes() -> None:
    told = NodeSettings(client={"meta": {"rack": "a"}, "gc_max_allocs": 1}, plugins={"mine": {"simulate": "A:1"}})
    configs = render_configs(plan(Settings(nodes=(told, NodeSettings()), plugin_dir="/plugins", server={"x": 1})))
    client = configs["node-0"]["client"]
    assert (client["meta"], client["gc_max_allocs"], client["enabled"]) == ({"rack": "a"}, 1, True)
    assert configs["node-1"]["client"]["gc_max_allocs"] == 500
    assert configs["node-0"]["plugin"]["mine"] == [{"config": [{"simulate": "A:1"}]}]
    assert "mine" not in configs["node-1"]["plugin"]
    assert configs["node-0"]["plugin"]["docker"][0]["config"][0]["volumes"] == {"enabled": False}
    assert {configs[f"node-{node}"]["plugin_dir"] for node in range(2)} == {"/plugins"}
    assert configs["server"]["server"]["x"] == 1


def test_only_the_consul_server_holds_managements_token() -> None:
    configs = render_configs(plan(Settings()))
    holders = [name for name, config in configs.items() if TOKENS.consul in json.dumps(config)]
    assert holders == ["consul"]
    assert TOKENS.nomad not in json.dumps(configs)
    assert all(TOKENS.agents in json.dumps(config) for config in configs.values())


def test_without_acl_there_is_no_token() -> None:
    assert "secret" not in json.dumps(render_configs(plan(Settings(acl=False))))


@pytest.mark.parametrize("tls", [False, True])
def test_with_tls_nobody_speaks_plain_http(*, tls: bool) -> None:
    made = plan(Settings(tls=tls), tls=tls)
    configs = render_configs(made)
    schemes = {url.partition(":")[0] for url in (made.nomad_url, made.consul_url, made.client_url(0))}
    assert schemes == {"https" if tls else "http"}
    for name in ("consul", "node-0-consul"):
        assert (configs[name]["ports"]["http"] == -1) == tls
    for name in ("server", "node-0"):
        assert configs[name].get("tls", {}).get("http", False) == tls
        assert configs[name]["consul"].get("ssl", False) == tls


def test_files_with_tokens_are_their_owners_alone(tmp_path: Path) -> None:
    configs = render_configs(plan(Settings()))
    write_configs(configs, tmp_path)
    for name, config in configs.items():
        file = tmp_path / f"{name}.json"
        assert json.loads(file.read_text()) == config
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
