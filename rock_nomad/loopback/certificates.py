"""A CA for one cluster, and a certificate for all of its agents: Nomad's executable makes both."""

from __future__ import annotations

import subprocess
from pathlib import Path

from rock.wire.errors import InternalServerRockError

__all__ = ["make_certificate"]

# By these names agents know what another one is: Nomad's server and client of region `global`, Consul's of `dc1`.
_NAMES = ("client.global.nomad", "server.dc1.consul", "localhost")


def make_certificate(folder: Path, nomad: str) -> dict[str, str]:
    """The paths of `ca_file`, `cert_file` and `key_file`, made in a folder that exists.

    Raises InternalServerRockError: the executable refuses.
    """
    names = [f"-additional-dnsname={name}" for name in _NAMES]
    for arguments in (("ca", "create"), ("cert", "create", "-server", "-additional-ipaddress=127.0.0.1", *names)):
        made = subprocess.run([nomad, "tls", *arguments], cwd=folder, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise InternalServerRockError(f"{nomad} tls {arguments[0]} create: {made.stderr.strip()}")
    own = "global-server-nomad"
    files = {"ca_file": "nomad-agent-ca.pem", "cert_file": f"{own}.pem", "key_file": f"{own}-key.pem"}
    return {name: str(folder / file) for name, file in files.items()}
