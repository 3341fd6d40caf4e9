"""A sandbox's network settings: nearer mirrors, and a fixed address for GitHub."""

from __future__ import annotations

import ipaddress
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from rock._requests import Command
from rock._responses import BashObservation

if TYPE_CHECKING:
    from collections.abc import Callable

    from rock._sandbox import Sandbox

__all__ = ["Network", "SpeedupType"]


class SpeedupType(str, Enum):
    """What to make faster."""

    APT = "apt"
    PIP = "pip"
    GITHUB = "github"


class Network:
    """The network as a sandbox sees it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    async def speedup(self, speedup_type: SpeedupType, speedup_value: str, timeout: int = 300) -> BashObservation:
        """Point package managers at a mirror (`APT`, `PIP`: its URL), or github.com at an address (`GITHUB`: an IPv4).

        Exit code 1 with the reason where the sandbox is not of the kind, or the value is wrong.
        """
        try:
            speedup = _SPEEDUPS[SpeedupType(speedup_type)]
        except ValueError:
            return _refused(f"Unsupported speedup type: {speedup_type}", "Invalid speedup type")
        checked = await self.sandbox.execute(Command(command=["sh", "-c", speedup.check]))
        if checked.exit_code != 0:
            return _refused(speedup.missing, "Precheck failed")
        try:
            script = speedup.render(speedup_value.strip())
        except ValueError as error:
            return _refused(f"Failed to generate speedup script: {error}", "Script generation failed")
        return await self.sandbox.process.execute_script(script, wait_timeout=timeout)


class _Speedup(NamedTuple):
    """One kind of speedup: what must hold in the sandbox, what to say if it does not, and what to run."""

    check: str
    missing: str
    render: Callable[[str], str]


_APT = """\
. /etc/os-release
if [ -f /etc/apt/sources.list ] && [ ! -f /etc/apt/sources.list.backup ]; then
    cp /etc/apt/sources.list /etc/apt/sources.list.backup
fi
case "$ID" in
debian)
    release=${{VERSION_CODENAME:-bookworm}}
    parts="main contrib non-free non-free-firmware"
    printf '%s\\n' "deb {mirror}/debian/ $release $parts" "deb {mirror}/debian/ $release-updates $parts" \\
        "deb {mirror}/debian-security/ $release-security $parts" >/etc/apt/sources.list ;;
ubuntu)
    release=${{VERSION_CODENAME:-noble}}
    : >/etc/apt/sources.list
    for pocket in "" -security -updates -backports; do
        echo "deb {mirror}/ubuntu/ $release$pocket main restricted universe multiverse" >>/etc/apt/sources.list
    done ;;
*) echo "neither Debian nor Ubuntu: $ID"; exit 1 ;;
esac
rm -rf /etc/apt/sources.list.d /var/lib/apt/lists/*
mkdir -p /etc/apt/apt.conf.d
printf '%s\\n' 'Acquire::http::Timeout "30";' 'Acquire::Retries "3";' 'APT::Get::Assume-Yes "true";' \\
    'APT::Install-Recommends "false";' 'APT::Install-Suggests "false";' >/etc/apt/apt.conf.d/99speedup
echo "APT source configuration completed"
"""

_PIP = """\
configure() {{
    mkdir -p "$1/.pip" || return
    printf '%s\\n' "[global]" "index-url = {mirror}/pypi/simple/" "trusted-host = {host}" "timeout = 120" \\
        "[install]" "trusted-host = {host}" >"$1/.pip/pip.conf"
}}
configure "${{HOME:-/root}}" || exit
for home in /home/*; do
    [ -d "$home" ] || continue
    configure "$home"
    chown -R "$(stat -c %u:%g "$home")" "$home/.pip"
done
echo "pip source configuration completed"
"""

_GITHUB = """\
[ -f /etc/hosts.backup ] || cp /etc/hosts /etc/hosts.backup
others=$(grep -v '[[:space:]]github\\.com$' /etc/hosts)  # not sed -i: containers mount the file, it cannot be replaced
printf '%s\\n' "$others" "{address} github.com" >/etc/hosts
echo "GitHub hosts configuration completed"
"""


def _render_apt(mirror: str) -> str:
    return _APT.format(mirror=_check_url(mirror))


def _render_pip(mirror: str) -> str:
    return _PIP.format(mirror=_check_url(mirror), host=urlsplit(mirror).netloc.rpartition("@")[2])


def _render_github(address: str) -> str:
    return _GITHUB.format(address=ipaddress.IPv4Address(address))


def _check_url(url: str) -> str:
    """The URL without its last slash.  Nothing in it may mean something to the shell that it goes through."""
    if urlsplit(url).scheme not in ("http", "https") or not url.isascii() or set(url) & set(" \t\n\"'`$\\"):
        raise ValueError(f"{url!r} is no http:// or https:// URL")
    return url.rstrip("/")


_SPEEDUPS = {
    SpeedupType.APT: _Speedup(
        "test -f /etc/debian_version", "This is not a Debian/Ubuntu system, APT speedup is not supported", _render_apt
    ),
    SpeedupType.PIP: _Speedup(
        "pip3 --version || pip --version", "pip is not installed, PIP speedup is not supported", _render_pip
    ),
    SpeedupType.GITHUB: _Speedup(
        "test -w /etc/hosts", "/etc/hosts is not writable, GitHub speedup requires root privileges", _render_github
    ),
}


def _refused(why: str, reason: str) -> BashObservation:
    return BashObservation(output=why, exit_code=1, failure_reason=reason)
