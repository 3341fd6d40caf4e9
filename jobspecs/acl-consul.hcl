# What the gateway may do on Consul, and no more:
#   consul acl policy create -name rock-gateway -rules @acl-consul.hcl
#   consul acl token create -description rock-gateway -policy-name rock-gateway

# Where a sandbox's rocklet listens.  Without this Consul answers with an empty list, not with an error.
service_prefix "rocklet-" {
  policy = "read"
}

# A service is shown only together with its node.
node_prefix "" {
  policy = "read"
}

# Which version answers.
agent_prefix "" {
  policy = "read"
}
