# A Nomad client for sandboxes: the settings that matter, each with its reason.  Lay it beside your own:
#   nomad agent -config client.hcl -config your-own.hcl

client {
  enabled   = true
  node_pool = "default"

  # 1000 x the machine's cores, so that 1000 is one vCPU on every machine, whatever its clock rate.
  cpu_total_compute = 16000

  # Beyond this many the logs of ended sandboxes are removed.  The default is 50.
  gc_max_allocs = 500

  # What every container is given: a rocklet that needs nothing of the image.
  host_volume "rocklet" {
    path      = "/opt/rocklet/current"
    read_only = true
  }
}

acl {
  enabled = true
}

# Each client needs a Consul agent of its own beside it, and a token with the policy in acl-consul-nomad.hcl.
consul {
  address = "127.0.0.1:8500"
}

plugin "docker" {
  config {
    # Of the Docker engine's runtimes those that a job may ask for: `runsc` for the isolation gvisor, `kata` for kata.
    # Debian's runsc of 2022 wants `"runtimeArgs": ["--network=host"]` in daemon.json on newer kernels: its own network
    # stack takes every namespace for the node's (seen on Linux 6.18).
    allow_runtimes = ["runc", "nvidia"]

    # Images stay, so that the next sandbox starts at once.  By default they go three minutes after the last one.
    gc {
      image = false
    }

    # Who may pull private images from here, for every sandbox: a credential helper, docker-credential-<name> on PATH.
    # Prefer it to passwords in requests; whoever may start sandboxes can then use those images.
    # auth {
    #   helper = "ecr-login"
    # }

    # With these a job could leave its container.
    allow_privileged = false
    volumes {
      enabled = false
    }
  }
}

# The isolation raw_exec is none at all: for trusted commands alone.
plugin "raw_exec" {
  config {
    enabled = false
  }
}
