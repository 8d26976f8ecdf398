"""What a workspace is: the wall between tenants, and either local or the mirror of one elsewhere."""

from enum import StrEnum


class WorkspaceKind(StrEnum):
    """LOCAL posts are published from here; a MIRROR only records what another system reports."""

    LOCAL = "local"
    MIRROR = "mirror"
