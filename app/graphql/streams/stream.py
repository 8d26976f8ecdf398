"""The answers to one subscription, one for each change that it is told of. Knows no transport."""

import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import TypeAlias

import structlog
from graphql import ExecutionResult
from graphql.execution.values import VariableValues
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from app.domain.errors import MASKED, InternalError, PostResultsError, ServiceUnavailable
from app.graphql.context import Context
from app.graphql.errors import Answer, as_json, public_cause
from app.graphql.execution.operations import Operation
from app.graphql.streams.answers import NOTHING, Made, SharedAnswers
from app.graphql.streams.documents import OpenDocuments
from app.graphql.subscription import Told
from app.http.places import Places

PATIENCE = timedelta(minutes=2)
"""How long a change waits for a database that is away, before its stream is given up."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds; each is drawn from up to its whole."""

ToAnswer: TypeAlias = Callable[[Context, ExecutionResult], Answer]

logger = structlog.stdlib.get_logger(__name__)


class Stream:
    """Of one subscription that has begun."""

    def __init__(
        self,
        operation: Operation,
        text: str,
        given: Mapping[str, object],
        variables: VariableValues,
        context: Context,
        told: AsyncGenerator[Told, None],
        *,
        shared: SharedAnswers,
        places: Places,
        documents: OpenDocuments,
        to_answer: ToAnswer,
    ) -> None:
        self._operation = operation
        self._variables = variables
        self._context = context
        self._told = told
        self._shared = shared
        self._places = places
        self._documents = documents
        self._to_answer = to_answer
        viewer = context.viewer
        told_apart = {
            name: value for name, value in given.items() if name not in operation.resuming_variables
        }
        asked = (str(viewer.workspace_id), viewer.scopes, text, operation.name, told_apart)
        self._asked = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()
        """Whatever makes a difference to the answers, as something short that is soon compared."""

    async def answers(self) -> AsyncGenerator[str, None]:
        """Each as JSON, as `Answer.body` has it.

        It has no end; what it breaks off with is a PostResultsError: ResyncRequired, or a failure of ours.
        """
        with (
            self._places.taken(self._context.viewer.key_id),
            self._documents.open(self._operation),
        ):
            async with aclosing(self._told) as told:
                try:
                    async for each in told:
                        key = (each.change.seq, each.change.happened_at, self._asked)
                        answer = await self._shared.get(key, partial(self._patiently, each))
                        if answer != NOTHING:
                            yield answer
                except PostResultsError:
                    raise
                except Exception as error:
                    request_id = self._context.state["request_id"]
                    logger.exception("subscription failed", request_id=request_id)
                    raise InternalError(MASKED) from error

    async def _patiently(self, told: Told) -> Made:
        """The answer to a change, also if the database has to come back first."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(ServiceUnavailable),
            stop=stop_after_delay(PATIENCE),
            wait=wait_random_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE),
            reraise=True,
        ):
            with attempt:
                made = await self._make(told)
        return made

    async def _make(self, told: Told) -> Made:
        """ServiceUnavailable if anything of it could not be read."""
        context = self._context.anew()
        shown = await told.shown(context)
        if shown is None:
            return Made(NOTHING, is_sound=True)
        result = await self._operation.respond_to(shown, context, self._variables)
        for error in result.errors or ():
            if isinstance(cause := public_cause(error), ServiceUnavailable):
                raise cause
        answer = self._to_answer(context, result)
        return Made(as_json(answer), is_sound=not answer.errors)
