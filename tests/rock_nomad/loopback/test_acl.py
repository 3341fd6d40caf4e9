from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cluster import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.needs("ACLs")]


def test_the_gateways_tokens_may_do_what_it_must_and_no_more(cluster: Cluster) -> None:
    gateway = replace(cluster, nomad_token=cluster.gateway_nomad_token, consul_token=cluster.gateway_consul_token)
    for path in ("/v1/jobs", "/v1/nodes", "/v1/agent/self", "/v1/allocations", "/v1/evaluations"):
        assert gateway.nomad("GET", path).status == 200
    for path in ("/v1/health/service/rocklet-x", "/v1/agent/self"):
        assert gateway.consul("GET", path).status == 200
    for path in ("/v1/acl/tokens", "/v1/jobs?namespace=other", "/v1/var/nomad/jobs/other"):
        assert gateway.nomad("GET", path).status == 403
    assert gateway.nomad("PUT", "/v1/system/gc").status == 403
    assert gateway.consul("PUT", "/v1/kv/x", b"y").status == 403
    assert gateway.consul("PUT", "/v1/agent/service/register", {"Name": "rocklet-x"}).status == 403


def test_nobody_is_let_in_without_a_token(cluster: Cluster) -> None:
    nobody = replace(cluster, nomad_token="", consul_token="")
    assert nobody.nomad("GET", "/v1/jobs").status == 403
    assert nobody.consul("PUT", "/v1/kv/x", b"y").status == 403
