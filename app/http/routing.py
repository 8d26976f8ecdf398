"""Finds the handler of a request by its path and method."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.domain.errors import MethodNotAllowed, NotFound
from app.http.application import Handler
from app.http.request import HttpRequest
from app.http.responses import Response

ANY_METHOD = "*"
"""Key of a handler that decides about the method itself."""

_PARAMETER = re.compile(r"{(\w+)(:path)?}")
_SEGMENT, _PATH = "([^/]+)", "((?s:.*))"


@dataclass(frozen=True, slots=True)
class Route:
    """Handlers of one path by method; that of GET serves HEAD too.

    A segment such as `{post_id}` of the path matches any text without a slash, and `{view:path}` any text.
    """

    path: str
    handlers: Mapping[str, Handler]


class Router:
    """Handler that passes each request on to the handler of its route; the first match wins."""

    def __init__(self, routes: Sequence[Route], not_found_message: str) -> None:
        """Create a router; `{root}` in the message for an unknown path stands for the root path."""
        self._not_found_message = not_found_message
        self._routes: dict[int, tuple[Route, Sequence[str]]] = {}
        """Each route with the names of its parameters, by the number of its group in the pattern."""
        patterns: list[str] = []
        group = 1
        for route in routes:
            names = [parameter[1] for parameter in _PARAMETER.finditer(route.path)]
            self._routes[group] = (route, names)
            group += 1 + len(names)
            patterns.append(f"({_path_pattern(route.path)})")
        # One pattern for all: a search route by route would take longer than most requests.
        self._pattern = re.compile("|".join(patterns))

    async def __call__(self, request: HttpRequest) -> Response:
        """Run the handler; raises NotFound and MethodNotAllowed."""
        match = self._pattern.fullmatch(request.path.removeprefix(request.root_path))
        if match is None or match.lastindex is None:
            raise NotFound(self._not_found_message.format(root=request.root_path))
        # The group of a route closes after those of its parameters, so it is the last one.
        route, names = self._routes[match.lastindex]
        request.route = route.path
        request.path_parameters = dict(zip(names, match.groups()[match.lastindex :], strict=False))
        handlers = route.handlers
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            handler = handlers.get(ANY_METHOD)
        if handler is None:
            methods = {*handlers, "HEAD"} if "GET" in handlers else handlers
            allowed = ", ".join(sorted(methods))
            raise MethodNotAllowed(
                f"{request.method} is not possible here; use {allowed}.", allowed=allowed
            )
        return await handler(request)


def _path_pattern(path: str) -> str:
    """Return the regular expression of a path, with one group for each parameter."""
    literals = _PARAMETER.split(path)[::3]
    groups = [_PATH if parameter[2] else _SEGMENT for parameter in _PARAMETER.finditer(path)]
    return "".join(
        re.escape(literal) + group for literal, group in zip(literals, [*groups, ""], strict=True)
    )
