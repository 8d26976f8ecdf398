"""Whatever escapes a door becomes an answer here; nothing internal is ever part of it."""

from collections.abc import Callable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.errors import MASKED_MESSAGE, InternalError, PostResultsError, RequestError
from app.http.responses import ErrorRenderer, TrackedSend
from app.http.state import record_error, request_state


class ErrorMiddleware:
    """Answers our own errors as they are, and everything else as a masked InternalError.

    What is not the caller's doing goes to `report(request_id, exception)` first. Once a response
    has started nothing can be answered: it is left incomplete and the server cuts the connection.
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
        except Exception as exception:  # noqa: BLE001 - the one place that must not let any through
            if not isinstance(exception, RequestError):
                self._report(request_state(scope)["request_id"], exception)
            error = _to_public_error(exception)
            record_error(scope, error)
            if not response.has_started:
                await self._render(scope, error)(scope, receive, response)


def _to_public_error(exception: Exception) -> PostResultsError:
    if isinstance(exception, PostResultsError):
        return exception
    return InternalError(MASKED_MESSAGE)
