"""Scopes, declared on fields. Who the viewer is was settled before; nothing is checked in bodies."""

from typing import Any

from strawberry.extensions import FieldExtension
from strawberry.permission import BasePermission, PermissionExtension

from app.domain.api_keys import Scope
from app.domain.errors import InsufficientScope
from app.graphql.schema.context import Info


class HasScope(BasePermission):
    """Refuses with INSUFFICIENT_SCOPE unless the viewer's key has one of the scopes."""

    def __init__(self, *scopes: Scope) -> None:
        self.scopes = scopes

    def has_permission(self, source: Any, info: Info, **kwargs: Any) -> bool:  # noqa: ARG002
        return any(each in info.context.viewer.scopes for each in self.scopes)

    def on_unauthorized(self) -> None:
        raise InsufficientScope(f"This needs an API key with the scope {' or '.join(self.scopes)}.")


def requires(scope: Scope) -> list[FieldExtension]:
    """The `extensions=` of a field that needs a scope."""
    return [PermissionExtension([HasScope(scope)], use_directives=False)]
