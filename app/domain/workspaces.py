"""Workspaces, which isolate tenants: local, or mirrors of a workspace elsewhere."""

from enum import StrEnum


class WorkspaceKind(StrEnum):
    """LOCAL publishes its posts through this service; MIRROR records the results of another one."""

    LOCAL = "local"
    MIRROR = "mirror"
