"""`python -m rock_nomad.loopback`: run a cluster until a signal, or until stdin ends.

Stdin: lines such as `kill node-0`, `stop server`, `start consul`.  Stdout: where the cluster is, a line of JSON, once
it is ready and after each of these; an empty one only asks.
"""

import argparse
import logging
import signal
import sys
from types import FrameType

import msgspec

from rock.wire.errors import RockException
from rock_nomad.loopback.cluster import Cluster, run_cluster
from rock_nomad.loopback.settings import Settings


def run(settings: Settings) -> None:
    """Serve until stdin ends."""
    with run_cluster(settings) as cluster:
        _describe(cluster)
        commands = {"start": cluster.start, "stop": cluster.stop, "kill": cluster.kill}
        for line in sys.stdin:
            if line.strip():
                verb, _, name = line.strip().partition(" ")
                commands[verb](name)
            _describe(cluster)


def _describe(cluster: Cluster) -> None:
    print(msgspec.json.encode(cluster.describe()).decode(), flush=True)


def _end(number: int, _frame: FrameType | None) -> None:
    # Once: a second signal must not end us amid taking the cluster down.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> None:
    """Run the cluster."""
    parser = argparse.ArgumentParser(prog="python -m rock_nomad.loopback", description=__doc__)
    parser.add_argument("settings", help="a JSON object; {} for a cluster of one node")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        run(msgspec.json.decode(arguments.settings, type=Settings))
    except (RockException, msgspec.ValidationError) as error:
        sys.exit(f"rock-nomad: {error}")


if __name__ == "__main__":
    main()
