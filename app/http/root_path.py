"""Middleware for serving under a path prefix, whether or not the proxy strips the prefix."""

from starlette.types import ASGIApp, Receive, Scope, Send


class RootPathMiddleware:
    """Middleware that adds the prefix to paths without it, and sets it as the `root_path`.

    The prefix itself, without a slash, becomes the path of the index.

    Must be outside of everything that reads paths. The `root_path` option of servers is no
    replacement: servers prepend it to every path, also to one that has the prefix already.
    """

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        self.app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._root_path and scope["type"] in ("http", "websocket"):
            path = scope["path"]
            if path == self._root_path:
                path = f"{path}/"
            elif not path.startswith(f"{self._root_path}/"):
                path = self._root_path + path
            scope = {**scope, "path": path, "root_path": self._root_path}
        await self.app(scope, receive, send)
