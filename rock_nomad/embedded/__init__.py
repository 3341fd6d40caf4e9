"""A one-machine agent that answers the part of Nomad's and Consul's HTTP APIs which the control plane uses.

Started as `python -m rock_nomad.embedded`, never imported by the rest of the product: they meet on HTTP.
What it does was recorded from Nomad 2.0.5 and Consul 1.8.7; where it knowingly differs stands in `differences`.
"""
