"""What every mutation's field has in common: its scope, a workspace that may be changed, its input's name."""

from collections.abc import Awaitable, Callable
from typing import Any

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.permission import BasePermission, PermissionExtension

from app.domain.api_keys import Scope
from app.domain.errors import ReadOnlyMirror, RequestError
from app.domain.workspaces import WorkspaceKind
from app.graphql.schema.context import Info
from app.graphql.schema.permissions import HasScope

INPUT_ARGUMENT = "input"
"""The one argument of each mutation."""

IDEMPOTENCY_KEY_DESCRIPTION = (
    "Of this request: sent again within 24 hours, it has no second effect."
)
"""The description of the field of that name, in every input that has it."""


_PUBLISH_SCOPES = (Scope.PUBLISH, Scope.PUBLISH_ALL)


def write_field(*scopes: Scope) -> list[FieldExtension]:
    """The `extensions=` of a field that changes something, for keys with one of the scopes."""
    allowed = PermissionExtension([HasScope(*scopes), NotMirrorWorkspace()], use_directives=False)
    return [allowed, PrefixArgumentPath()]


def publisher_field() -> list[FieldExtension]:
    """The `extensions=` of a field of the publishing protocol: in one workspace, or over all."""
    allowed = PermissionExtension(
        [HasScope(*_PUBLISH_SCOPES), NotMirrorUnlessPublishAll()], use_directives=False
    )
    return [allowed, PrefixArgumentPath()]


def workspace_publisher_field() -> list[FieldExtension]:
    """The same, of a field that acts in the viewer's own workspace alone."""
    return write_field(*_PUBLISH_SCOPES)


class NotMirrorWorkspace(BasePermission):
    """Refuses with READ_ONLY_MIRROR in a workspace that only records what another service reports."""

    def has_permission(self, source: Any, info: Info, **kwargs: Any) -> bool:  # noqa: ARG002
        return info.context.viewer.workspace_kind is not WorkspaceKind.MIRROR

    def on_unauthorized(self) -> None:
        raise ReadOnlyMirror("This workspace mirrors another service and cannot be changed here.")


class NotMirrorUnlessPublishAll(NotMirrorWorkspace):
    """The same for a key of one workspace; one over all passes over the mirrors by itself."""

    def has_permission(self, source: Any, info: Info, **kwargs: Any) -> bool:
        everywhere = Scope.PUBLISH_ALL in info.context.viewer.scopes
        return everywhere or super().has_permission(source, info, **kwargs)


class PrefixArgumentPath(FieldExtension):
    """Tells in which argument the field is that an error names: the domain does not know of inputs."""

    async def resolve_async(
        self,
        next_: Callable[..., Awaitable[Any]],
        source: Any,
        info: strawberry.Info,
        **kwargs: Any,
    ) -> Any:
        try:
            return await next_(source, info, **kwargs)
        except RequestError as error:
            if error.argument is not None:
                error.argument = f"{INPUT_ARGUMENT}.{error.argument}"
            raise
