"""Cancellation of posts: which posts may be cancelled, and why the others are refused."""

from dataclasses import dataclass
from enum import StrEnum


class CancellationRefusal(StrEnum):
    """Reason why a post is not cancelled."""

    IMPORTED = "imported"
    ALREADY_DRAFT = "already_draft"
    BEING_PUBLISHED = "being_published"
    OUTCOME_UNKNOWN = "outcome_unknown"
    NOTHING_QUEUED = "nothing_queued"

    @property
    def fix(self) -> str:
        """Problem and advice to a person, as sentences."""
        return _FIXES[self]


_FIXES = {
    CancellationRefusal.IMPORTED: "The post was imported: change it in the service that publishes it.",
    CancellationRefusal.ALREADY_DRAFT: "The post is already a draft, so nothing of it will be published.",
    CancellationRefusal.BEING_PUBLISHED: "The post is being published. Try again when that has ended.",
    CancellationRefusal.OUTCOME_UNKNOWN: "It is unknown whether the post was published. Check the platform"
    " and record the result.",
    CancellationRefusal.NOTHING_QUEUED: "Nothing of the post is waiting: it was published or has failed.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostProgress:
    """Properties of a post that decide whether it may be cancelled."""

    is_imported: bool
    is_draft: bool
    is_publishing: bool
    """True if a publisher holds at least one destination."""
    is_unknown: bool
    """True if the outcome of at least one destination is unknown."""
    was_attempted: bool
    """True if a platform was called for at least one destination."""
    is_queued: bool
    """True if at least one destination waits to be published."""


def cancellation_refusal(progress: PostProgress) -> CancellationRefusal | None:
    """Return why a post may not be cancelled; None if it may."""
    if progress.is_imported:
        return CancellationRefusal.IMPORTED
    if progress.is_draft:
        return CancellationRefusal.ALREADY_DRAFT
    if progress.is_publishing:
        return CancellationRefusal.BEING_PUBLISHED
    if progress.is_unknown:
        return CancellationRefusal.OUTCOME_UNKNOWN
    if progress.was_attempted and not progress.is_queued:
        return CancellationRefusal.NOTHING_QUEUED
    return None
