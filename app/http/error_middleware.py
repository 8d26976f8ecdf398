"""Middleware that turns uncaught exceptions into error responses without internal details."""

from collections.abc import Callable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.errors import MASKED_MESSAGE, InternalError, PostResultsError, RequestError
from app.http.request_scope import record_error, request_state
from app.http.responses import ErrorRenderer, TrackedSend


class ErrorMiddleware:
    """Middleware that renders a PostResultsError, and any other exception as a masked InternalError.

    Failures that the client did not cause go to `report(request_id, exception)` first. A response
    that has started is left incomplete, and the server closes the connection.
    """

    def __init__(
        self, app: ASGIApp, *, render: ErrorRenderer, report: Callable[[str, Exception], None]
    ) -> None:
        self.app = app
        self._render = render
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        response = TrackedSend.wrap(send)
        try:
            await self.app(scope, receive, response)
        except ClientDisconnect:
            return
        except Exception as exception:  # noqa: BLE001 - the last handler of every request
            if not isinstance(exception, RequestError):
                self._report(request_state(scope)["request_id"], exception)
            error = (
                exception
                if isinstance(exception, PostResultsError)
                else InternalError(MASKED_MESSAGE)
            )
            record_error(scope, error)
            if not response.has_started:
                await self._render(scope, error)(scope, receive, response)
