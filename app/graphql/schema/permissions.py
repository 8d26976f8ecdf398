"""Decorators and extensions of fields: scopes, no writes to mirrors, and complete argument paths of errors.

A resolver never checks permissions itself, except that of `node`, where they depend on the id. The viewer was
authenticated before the operation started.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.permission import BasePermission, PermissionExtension

from app.domain.api_keys import Scope
from app.domain.errors import InsufficientScope, ReadOnlyMirror, RequestError
from app.domain.ids import WorkspaceKind
from app.services.api_keys import Viewer

AnyInfo: TypeAlias = strawberry.Info[Any, Any]

_PUBLISH_SCOPES = (Scope.PUBLISH, Scope.PUBLISH_ALL)


def requires(scope: Scope, *permissions: BasePermission) -> list[FieldExtension]:
    """Return the `extensions=` of a query or subscription field that needs a scope, and more permissions."""
    return [PermissionExtension([HasScope(scope), *permissions], use_directives=False)]


def write_mutation(description: str, *permissions: BasePermission) -> Any:
    """Return the decorator of a mutation for keys with the scope WRITE, and further permissions."""
    return _mutation(description, HasScope(Scope.WRITE), *permissions, NotMirrorWorkspace())


def credentials_mutation(description: str) -> Any:
    """Return the decorator of a mutation for keys with the scope CREDENTIALS."""
    return _mutation(description, HasScope(Scope.CREDENTIALS), NotMirrorWorkspace())


def admin_mutation(description: str) -> Any:
    """Return the decorator of a mutation for keys with the scope ADMIN."""
    return _mutation(description, HasScope(Scope.ADMIN), NotMirrorWorkspace())


def publisher_mutation(description: str) -> Any:
    """Return the decorator of a publishing mutation, which may act in one or in all workspaces."""
    return _mutation(description, HasScope(*_PUBLISH_SCOPES), NotMirrorUnlessPublishAll())


def workspace_publisher_mutation(description: str) -> Any:
    """Return the decorator of a publishing mutation that acts in the viewer's workspace only."""
    return _mutation(description, HasScope(*_PUBLISH_SCOPES), NotMirrorWorkspace())


def _mutation(description: str, *permissions: BasePermission) -> Any:
    permission = PermissionExtension(list(permissions), use_directives=False)
    return strawberry.mutation(
        description=description, extensions=[permission, PrefixArgumentPath()]
    )


class HasScope(BasePermission):
    """Permission for API keys with one of the scopes; else INSUFFICIENT_SCOPE."""

    def __init__(self, *scopes: Scope) -> None:
        self._scopes = frozenset(scopes)
        self._description = " or ".join(scopes)

    def has_permission(self, source: Any, info: AnyInfo, **kwargs: Any) -> bool:  # noqa: ARG002
        return self.allows(info.context.viewer)

    def allows(self, viewer: Viewer) -> bool:
        return not self._scopes.isdisjoint(viewer.scopes)

    def check(self, viewer: Viewer) -> None:
        """Raise InsufficientScope unless the viewer has one of the scopes."""
        if not self.allows(viewer):
            self.on_unauthorized()

    def on_unauthorized(self) -> None:
        raise InsufficientScope(f"This needs an API key with the scope {self._description}.")


class HasScopeForCredentials(HasScope):
    """Permission for API keys with the scope CREDENTIALS if the input has credentials; else for all."""

    def __init__(self) -> None:
        super().__init__(Scope.CREDENTIALS)

    def has_permission(self, source: Any, info: AnyInfo, **kwargs: Any) -> bool:
        return kwargs["input"].credentials is None or super().has_permission(source, info)


class NotMirrorWorkspace(BasePermission):
    """Permission outside mirrors of other services; else READ_ONLY_MIRROR."""

    def has_permission(self, source: Any, info: AnyInfo, **kwargs: Any) -> bool:  # noqa: ARG002
        return info.context.viewer.workspace_kind is not WorkspaceKind.MIRROR

    def on_unauthorized(self) -> None:
        raise ReadOnlyMirror("This workspace mirrors another service and cannot be changed here.")


class NotMirrorUnlessPublishAll(NotMirrorWorkspace):
    """Permission like NotMirrorWorkspace, and for all PUBLISH_ALL keys: their claims skip mirrors anyway."""

    def has_permission(self, source: Any, info: AnyInfo, **kwargs: Any) -> bool:
        is_publish_all = Scope.PUBLISH_ALL in info.context.viewer.scopes
        return is_publish_all or super().has_permission(source, info, **kwargs)


class PrefixArgumentPath(FieldExtension):
    """Extension that prefixes the argument of an error with `input.`: the domain knows no input objects."""

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: AnyInfo, **kwargs: Any
    ) -> Any:
        try:
            return await next_(source, info, **kwargs)
        except RequestError as error:
            if error.argument is not None:
                error.argument = f"input.{error.argument}"
            raise
