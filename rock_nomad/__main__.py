"""`python -m rock_nomad` is `rock-nomad`."""

from rock_nomad.cli import main

main()
