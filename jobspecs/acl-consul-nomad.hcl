# What Nomad's own agents may do on Consul: register what they run there.  The token goes into each agent's
# configuration, as `consul { token = ... }`.
#   consul acl policy create -name nomad-agents -rules @acl-consul-nomad.hcl
#   consul acl token create -description nomad-agents -policy-name nomad-agents

# Every sandbox's rocklet.
service_prefix "rocklet-" {
  policy = "write"
}

# The gateway, where it runs as a Nomad job.
service "rock-gateway" {
  policy = "write"
}

# The agents themselves: `nomad` and `nomad-client`.
service_prefix "nomad" {
  policy = "write"
}

node_prefix "" {
  policy = "read"
}

agent_prefix "" {
  policy = "read"
}
