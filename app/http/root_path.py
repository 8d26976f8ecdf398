"""Serving under a path prefix, whether the proxy in front strips it or keeps it. No routes."""

from starlette.types import ASGIApp, Receive, Scope, Send


class RootPathMiddleware:
    """Gives each path the prefix unless it has it, and names the prefix as the `root_path`.

    Must stand outside of whatever looks at paths. Servers can name a root path too, but they add it
    to every path, and one that has it already would then have it twice.
    """

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        self.app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._root_path and scope["type"] in ("http", "websocket"):
            path = scope["path"]
            if path != self._root_path and not path.startswith(f"{self._root_path}/"):
                path = self._root_path + path
            scope = {**scope, "path": path, "root_path": self._root_path}
        await self.app(scope, receive, send)
