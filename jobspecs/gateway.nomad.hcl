# The gateway as a Nomad job: stateless replicas, found in Consul as `rock-gateway`.
#
# It may do on Nomad what acl-nomad.hcl grants this job, by its workload identity: there is no token to hand out.
#   nomad acl policy apply -namespace default -job rock-gateway rock-gateway acl-nomad.hcl
# What is secret stands in the Nomad variable nomad/jobs/rock-gateway, which this job alone may read:
#   secret        the cluster's secret; on a second line the one before, while it is being changed
#   keys          the API keys, as YAML: keys: [{name, sha256, tenant, role}, ...]; read again when they change
#   consul_token  a token with the policy in acl-consul.hcl; left out where Consul has no ACLs

variable "count" {
  description = "Replicas of each role."
  type        = number
  default     = 2
}

variable "port" {
  description = "Where every replica listens, one on a node; 0: where Nomad chooses, any number on a node."
  type        = number
  default     = 8080
}

variable "roles" {
  description = "What the replicas serve: [\"all\"], or each path by replicas of its own, [\"write\", \"read\"]."
  type        = list(string)
  default     = ["all"]
}

variable "profile" {
  # Where they are to run without containers (raw_exec), its rocklet_command is a program of the nodes, not of the image.
  description = "What sandboxes are like and may be, as YAML on one line; see ClusterProfile in rock_nomad/config.py."
  type        = string
  default     = "{}"
}

variable "driver" {
  description = "docker, by `image`; or raw_exec, by `command`."
  type        = string
  default     = "docker"

  validation {
    condition     = var.driver == "docker" || var.driver == "raw_exec"
    error_message = "The driver must be docker or raw_exec."
  }
}

variable "image" {
  description = "An image in which `rock-nomad` is on PATH (driver docker)."
  type        = string
  default     = "rock-nomad:latest"
}

variable "command" {
  description = "Where the nodes have `rock-nomad` (driver raw_exec)."
  type        = string
  default     = "/opt/rock-nomad/bin/rock-nomad"
}

variable "nomad_url" {
  description = "A Nomad agent; empty: the node's own."
  type        = string
  default     = ""
}

variable "consul_url" {
  description = "A Consul agent; empty: the node's own, on port 8500."
  type        = string
  default     = ""
}

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "node_pool" {
  type    = string
  default = "default"
}

variable "namespace" {
  description = "Of this job; that of the sandboxes stands in the profile."
  type        = string
  default     = "default"
}

variable "memory" {
  description = "MiB of one replica."
  type        = number
  default     = 512
}

job "rock-gateway" {
  type        = "service"
  namespace   = var.namespace
  datacenters = var.datacenters
  node_pool   = var.node_pool

  # One replica after the other.  No canary: replicas keep nothing, so old and new serve side by side.
  update {
    max_parallel     = 1
    health_check     = "checks"
    min_healthy_time = "5s"
    healthy_deadline = "2m"
    auto_revert      = true
  }

  spread {
    attribute = node.unique.id
  }

  dynamic "group" {
    for_each = var.roles
    labels   = [group.value]

    content {
      count = var.count

      # A replica that died is back at once, wherever its fault was.
      restart {
        attempts = 10
        interval = "5m"
        delay    = "1s"
        mode     = "delay"
      }

      network {
        port "http" {
          static = var.port
        }
      }

      task "gateway" {
        driver       = var.driver
        kill_signal  = "SIGTERM"
        kill_timeout = "15s"

        # Callers learn from Consul that a replica is going before it goes.
        shutdown_delay = "3s"

        dynamic "config" {
          for_each = var.driver == "docker" ? [var.image] : []
          content {
            image        = config.value
            entrypoint   = ["rock-nomad"]
            args         = ["gateway", "--config", "${NOMAD_SECRETS_DIR}/gateway.yaml"]
            network_mode = "host"
          }
        }

        dynamic "config" {
          for_each = var.driver == "raw_exec" ? [var.command] : []
          content {
            command = config.value
            args    = ["gateway", "--config", "${NOMAD_SECRETS_DIR}/gateway.yaml"]
          }
        }

        # The token that the gateway shows Nomad, as the file nomad_token; it is good for as long as the replica lives.
        identity {
          file = true
        }

        template {
          destination = "${NOMAD_SECRETS_DIR}/gateway.yaml"
          data        = <<-EOF
            host: {{ env "NOMAD_IP_http" }}
            port: {{ env "NOMAD_PORT_http" }}
            role: ${group.value}
            ${group.value == "all" || var.port == 0 ? "" : "elsewhere: http://${group.value == "read" ? "write" : "read"}.rock-gateway.service.consul:${var.port}"}
            keys_file: keys.yaml
            secret_file: secret
            nomad:
              url: ${var.nomad_url == "" ? "http://{{ env \"attr.unique.advertise.address\" }}" : var.nomad_url}
              token_file: nomad_token
            consul:
              url: ${var.consul_url == "" ? "http://{{ env \"attr.unique.network.ip-address\" }}:8500" : var.consul_url}
              token_file: consul_token
            profile: ${var.profile}
          EOF
        }

        template {
          destination = "${NOMAD_SECRETS_DIR}/secret"
          perms       = "600"
          data        = "{{ with nomadVar \"nomad/jobs/rock-gateway\" }}{{ .secret }}{{ end }}"
          splay       = "1m"
        }

        template {
          destination = "${NOMAD_SECRETS_DIR}/keys.yaml"
          perms       = "600"
          data        = "{{ with nomadVar \"nomad/jobs/rock-gateway\" }}{{ .keys }}{{ end }}"
          change_mode = "noop"
        }

        template {
          destination = "${NOMAD_SECRETS_DIR}/consul_token"
          perms       = "600"
          data        = "{{ with nomadVar \"nomad/jobs/rock-gateway\" }}{{ with .consul_token }}{{ . }}{{ end }}{{ end }}"
          change_mode = "noop"
        }

        resources {
          cpu    = 500
          memory = var.memory
        }

        service {
          name = "rock-gateway"
          port = "http"
          tags = [group.value]

          check {
            type     = "http"
            path     = "/health"
            interval = "5s"
            timeout  = "2s"
          }
        }
      }
    }
  }
}
