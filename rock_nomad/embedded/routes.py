"""Every route and query parameter this agent answers, in one table: the fence.

They are exactly those that the control plane sends; anything else is 501 and names itself.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Route:
    """One call: `name` is its handler's, `query` the parameters it takes beyond its API's common ones."""

    name: str
    method: str
    path: str
    query: frozenset[str] = frozenset()


def _route(name: str, method: str, path: str, *query: str) -> Route:
    return Route(name, method, path, frozenset(query))


NOMAD_COMMON = frozenset({"namespace", "region", "stale"})
CONSUL_COMMON = frozenset({"stale", "dc"})
BLOCKING = ("index", "wait")

NOMAD_ROUTES: tuple[Route, ...] = (
    _route("register_job", "POST", "/v1/job/{id}"),
    _route("plan_job", "POST", "/v1/job/{id}/plan"),
    _route("validate_job", "POST", "/v1/validate/job"),
    _route("deregister_job", "DELETE", "/v1/job/{id}", "purge"),
    _route("get_job", "GET", "/v1/job/{id}", *BLOCKING),
    _route("get_job_allocations", "GET", "/v1/job/{id}/allocations", *BLOCKING),
    _route("get_job_evaluations", "GET", "/v1/job/{id}/evaluations", *BLOCKING),
    _route("get_job_summary", "GET", "/v1/job/{id}/summary"),
    _route("list_jobs", "GET", "/v1/jobs", "prefix", "meta", "per_page", "next_token", *BLOCKING),
    _route("list_allocations", "GET", "/v1/allocations", "task_states", "per_page", "next_token", *BLOCKING),
    _route("get_allocation", "GET", "/v1/allocation/{id}", *BLOCKING),
    _route("list_evaluations", "GET", "/v1/evaluations", "per_page", "next_token", "status"),
    _route("get_evaluation", "GET", "/v1/evaluation/{id}", *BLOCKING),
    _route("list_nodes", "GET", "/v1/nodes", "resources", *BLOCKING),
    _route("get_node", "GET", "/v1/node/{id}", *BLOCKING),
    _route("stream_events", "GET", "/v1/event/stream", "index", "topic"),
    _route("stream_log", "GET", "/v1/client/fs/logs/{id}", "task", "type", "follow"),
    _route("put_variable", "PUT", "/v1/var/{path:.*}", "cas"),
    _route("delete_variable", "DELETE", "/v1/var/{path:.*}"),
    _route("list_variables", "GET", "/v1/vars", "prefix", "per_page", "next_token"),
    _route("get_agent", "GET", "/v1/agent/self"),
    _route("get_leader", "GET", "/v1/status/leader"),
)

CONSUL_ROUTES: tuple[Route, ...] = (
    _route("get_health", "GET", "/v1/health/service/{name}", "passing", *BLOCKING),
    _route("list_services", "GET", "/v1/catalog/services", *BLOCKING),
    _route("get_key", "GET", "/v1/kv/{key:.*}", "recurse", "keys", "separator", *BLOCKING),
    _route("put_key", "PUT", "/v1/kv/{key:.*}", "cas", "flags"),
    _route("delete_key", "DELETE", "/v1/kv/{key:.*}", "recurse", "cas"),
    _route("authorize", "POST", "/v1/internal/acl/authorize"),
    _route("get_agent", "GET", "/v1/agent/self"),
    _route("get_leader", "GET", "/v1/status/leader"),
)

UNANSWERED: tuple[Route, ...] = (
    _route("get_host_stats", "GET", "/v1/client/stats", "node_id"),
    _route("get_scheduler_configuration", "GET", "/v1/operator/scheduler/configuration"),
)
"""What the doctor asks of real agents alone, because here it is not applicable: 501, as all else."""
