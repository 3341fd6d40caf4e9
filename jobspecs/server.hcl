# A Nomad server for sandboxes: the settings that matter, each with its reason.  Lay it beside your own:
#   nomad agent -config server.hcl -config your-own.hcl

server {
  enabled          = true
  bootstrap_expect = 3

  # Gateways whose event stream was cut catch up from here.  The default keeps 100 changes.
  event_buffer_size = 10000

  # How long an ended sandbox can be asked about.  At thousands an hour the default of four hours fills the memory.
  job_gc_interval         = "1m"
  job_gc_threshold        = "15m"
  eval_gc_threshold       = "15m"
  batch_eval_gc_threshold = "30m"

  default_scheduler_config {
    # A batch job of higher priority would end sandboxes.
    preemption_config {
      batch_scheduler_enabled = false
    }
  }
}

# Without ACLs whoever reaches the port, sandboxes included, may run anything on any node.
acl {
  enabled = true
}

# A token with the policy in acl-consul-nomad.hcl.
consul {
  address = "127.0.0.1:8500"
}
