import json
import re
from pathlib import Path

import pytest

from tests.clis import clean_environment, rock_nomad
from tests.cluster import Cluster
from tests.gateways import write_config

pytestmark = pytest.mark.slow

VERDICTS = ("ok", "warning", "unfit", "unasked")


@pytest.fixture
def config(cluster: Cluster, tmp_path: Path) -> Path:
    return write_config(tmp_path, cluster, isolations=["raw_exec", "mock"])  # no engine is needed for these


def test_a_fit_cluster_is_told_on_one_screen(config: Path, tmp_path: Path) -> None:
    ran = rock_nomad("doctor", "--config", str(config), environment=clean_environment(tmp_path))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    findings, isolations, summary = ran.stdout.rstrip().split("\n\n")
    for line in findings.splitlines():
        assert re.match(rf"({'|'.join(VERDICTS)}) +\S|  +→ \S", line), line
    assert re.search(r"^raw_exec +yes +\S+", isolations, re.MULTILINE)
    assert re.search(r"^kata +no +none +\S+: no ", isolations, re.MULTILINE)
    assert summary == "fit for sandboxes"
    assert len(ran.stdout.splitlines()) <= 40


def test_programs_get_the_same_as_json(config: Path, tmp_path: Path) -> None:
    ran = rock_nomad("doctor", "--config", str(config), "-o", "json", environment=clean_environment(tmp_path))
    told = json.loads(ran.stdout)
    assert told["fit"] is True
    assert {each["verdict"] for each in told["findings"]} <= {"ok", "warning"}
    assert list(told["isolations"]["raw_exec"].values()) == [""]
    assert told["policies"] == {}


def test_an_unfit_cluster_ends_with_1_and_names_the_fault(cluster: Cluster, tmp_path: Path) -> None:
    config = write_config(tmp_path, cluster, isolations=["raw_exec", "kata"])
    ran = rock_nomad("doctor", "--config", str(config), environment=clean_environment(tmp_path))
    assert ran.returncode == 1
    assert re.search(r"^unfit +isolation kata +0 of 1 nodes: 1 with no ", ran.stdout, re.MULTILINE)
    assert ran.stdout.endswith("not fit for sandboxes\n")


def test_a_token_without_rights_is_shown_the_policy(embedded: Cluster, tmp_path: Path) -> None:
    environment = {**clean_environment(tmp_path), "NOMAD_TOKEN": "another", "CONSUL_HTTP_TOKEN": embedded.consul_token}
    urls = ["--nomad", embedded.nomad_url, "--consul", embedded.consul_url]
    ran = rock_nomad("doctor", *urls, environment=environment)
    assert ran.returncode == 1
    assert "the token may not: agent read, node read, list-jobs" in ran.stdout
    assert 'namespace "default" {' in ran.stdout


def test_a_cluster_that_does_not_answer_ends_with_2(tmp_path: Path) -> None:
    urls = ["--nomad", "http://127.0.0.1:1", "--consul", "http://127.0.0.1:1"]
    ran = rock_nomad("doctor", *urls, environment=clean_environment(tmp_path))
    assert ran.returncode == 2
    assert len(re.findall(r"^unasked +(nomad|consul) ", ran.stdout, re.MULTILINE)) == 2
