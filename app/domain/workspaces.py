"""Workspaces, which isolate tenants: local, or mirrors of a workspace elsewhere."""

from enum import StrEnum
from uuid import UUID

from app.domain.ids import WorkspaceId

DEMO_WORKSPACE_ID = WorkspaceId(UUID("de300000-0000-4000-8000-000000000de3"))
"""Workspace of `serve --demo`; it does not count as the first workspace of an installation."""


class WorkspaceKind(StrEnum):
    """Kind of a workspace: LOCAL publishes through this service, MIRROR records the results of another."""

    LOCAL = "local"
    MIRROR = "mirror"
