"""URL paths of the service, and the prefix below which a proxy serves them."""

from starlette.types import Scope

GRAPHQL_PATH = "/graphql"
REST_PATH = "/v1"
GRAPHIQL_PATH = "/graphiql"
DOCS_PATH = "/docs"
BOARD_PATH = "/board"
SESSION_PATH = f"{BOARD_PATH}/session"
LIVENESS_PATH = "/livez"
READINESS_PATH = "/readyz"
METRICS_PATH = "/metrics"
PROBE_PATHS = frozenset({LIVENESS_PATH, READINESS_PATH, METRICS_PATH})


def add_root_path(scope: Scope, root_path: str) -> Scope:
    """Return the scope of a request or WebSocket with the prefix in its path, and as its `root_path`.

    The prefix itself, without a slash, becomes the path of the index. The `root_path` option of servers
    is no replacement: servers prepend it to every path, also to one that has the prefix already.
    """
    if scope["type"] not in ("http", "websocket"):
        return scope
    path = scope["path"]
    if path == root_path:
        path = f"{path}/"
    elif not path.startswith(f"{root_path}/"):
        path = root_path + path
    return {**scope, "path": path, "root_path": root_path}
