# What the gateway may do on Nomad, and no more:
#   nomad acl policy apply rock-gateway acl-nomad.hcl
#   nomad acl token create -type client -name rock-gateway -policy rock-gateway
# The label is the namespace of the gateway's profile.

namespace "default" {
  capabilities = [
    "list-jobs",      # list sandboxes
    "read-job",       # their states, and the event stream
    "register-job",   # create
    "plan-job",       # plan, and validate
    "deregister-job", # stop
    "purge-job",      # delete
    "read-logs",      # logs
  ]

  # A registry's password that came with a request, for as long as its image is pulled.
  variables {
    path "nomad/jobs/sbx-*" {
      capabilities = ["list", "write", "destroy"]
    }
  }
}

# What the nodes have: why a sandbox waits, or could never run.
node {
  policy = "read"
}

# Which versions answer.
agent {
  policy = "read"
}

# The label is the profile's `rocklet_volume`: a job that mounts it may be registered.
host_volume "rocklet" {
  policy = "read"
}
