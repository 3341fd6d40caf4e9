"""`python -m rock_nomad.embedded`: run the agent until a signal, or until stdin ends."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path

from rock_nomad.embedded.cluster import Settings, run_cluster


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m rock_nomad.embedded", description=__doc__)
    parser.add_argument("--nomad-port", type=int, default=4646, help="port of the Nomad API; 0: any free one")
    parser.add_argument("--consul-port", type=int, default=8500, help="port of the Consul API; 0: any free one")
    parser.add_argument("--token-file", type=Path, required=True, help="file with the one token both APIs ask for")
    parser.add_argument("--data-dir", type=Path, required=True, help="directory for allocations; created if missing")
    parser.add_argument("--simulate-gpus", default="", metavar="MODEL:COUNT[:MIB],...", help="GPUs to pretend to have")
    parser.add_argument("--docker-host", default=os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock",
                        metavar="unix://PATH", help="the engine of the docker driver, if it answers")  # fmt: skip
    parser.add_argument("--host-volume", action="append", default=[], metavar="NAME=DIR", help="for jobs to mount")
    parser.add_argument("--gpu-state-file", type=Path, metavar="JSON", help='{"sick": {ID: WHY}, "missing": [ID]}')
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when stdin does")
    return parser.parse_args(arguments)


async def run(settings: Settings, *, exit_with_stdin: bool) -> None:
    """Serve until told to end; says on stdout, in one JSON line, where."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if exit_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _end_with_stdin, ended)
    async with run_cluster(settings) as addresses:
        place = {"nomad": addresses.nomad, "consul": addresses.consul, "node": addresses.node}
        print(json.dumps(place), flush=True)
        await ended.wait()


def _end_with_stdin(ended: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        ended.set()
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


def main() -> None:
    """Run the agent."""
    arguments = parse_arguments(sys.argv[1:])
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    data_dir = arguments.data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
    settings = Settings(
        nomad_port=arguments.nomad_port,
        consul_port=arguments.consul_port,
        token=arguments.token_file.read_text().strip(),
        data_dir=data_dir,
        simulated_gpus=arguments.simulate_gpus,
        docker_host=arguments.docker_host,
        host_volumes={name: Path(path) for name, _, path in (one.partition("=") for one in arguments.host_volume)},
        gpu_state_file=arguments.gpu_state_file,
    )
    try:
        asyncio.run(run(settings, exit_with_stdin=arguments.exit_with_stdin))
    except (OSError, ValueError) as error:
        sys.exit(f"rock-nomad-embedded: {error}")


if __name__ == "__main__":
    main()
