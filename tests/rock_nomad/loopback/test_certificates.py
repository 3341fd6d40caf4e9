from __future__ import annotations

import ssl
import sys
from pathlib import Path

import pytest

from rock.wire.errors import InternalServerRockError
from rock_nomad.loopback.certificates import make_certificate
from rock_nomad.loopback.executables import find_executables
from tests.cluster import missing_parts

pytestmark = pytest.mark.slow


@pytest.mark.skipif(bool(missing_parts("real")), reason=str(missing_parts("real")))
def test_one_certificate_speaks_for_every_agent_by_the_ca_made_with_it(tmp_path: Path) -> None:
    made = make_certificate(tmp_path, find_executables()["nomad"].path)
    context = ssl.create_default_context(cafile=made["ca_file"])
    context.load_cert_chain(made["cert_file"], made["key_file"])
    [authority] = context.get_ca_certs()
    assert "Nomad Agent CA" in str(authority["subject"])


def test_an_executable_that_refuses_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(InternalServerRockError, match=r"tls ca create: .*can't open file"):
        make_certificate(tmp_path, sys.executable)
