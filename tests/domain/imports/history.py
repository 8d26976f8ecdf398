"""A small service that publishes posts, as far as its answers tell of it: for tests of their import.

A history is a list of moves; each takes one minute. An answer may be taken between any two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.domain.times import format_instant

START = datetime(2026, 4, 15, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POST = UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479")


@dataclass
class SourceDestination:
    account_id: int
    scheduled_for: datetime | None
    status: str = "queued"
    attempts: int = 0
    published_at: datetime | None = None
    error: str | None = None
    next_retry_at: datetime | None = None

    def answer(self) -> dict[str, Any]:
        """As results tell it."""
        is_published = self.status == "published"
        return {
            "account_id": self.account_id,
            "account_name": f"@acme{self.account_id}",
            "platform": "x",
            "status": self.status,
            "published_at": self.published_at and format_instant(self.published_at),
            "platform_post_id": f"{self.account_id}0" if is_published else None,
            "platform_post_url": f"https://x.com/{self.account_id}" if is_published else None,
            "error": self.error,
            "attempts": self.attempts,
            "next_retry_at": self.next_retry_at and format_instant(self.next_retry_at),
            "id": str(UUID(int=self.account_id)),
        }


@dataclass
class Source:
    """One post of the service, which is a draft until it is scheduled.

    What people do always changes updated_at; where `attempts_change_posts`, what publishers do does too.
    """

    attempts_change_posts: bool
    now: datetime = START
    created_at: datetime = START
    updated_at: datetime = START
    content: str = "Draft"
    is_draft: bool = True
    submitted_now: bool = False
    scheduled_for: datetime | None = None
    destinations: list[SourceDestination] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.destinations = [SourceDestination(each, None) for each in (1, 2)]

    def move(self, move: str, account: int) -> None:
        """Do what the move says, where it can be done; else only time passes."""
        self.now += MINUTE
        _MOVES[move](self, self.destinations[account % len(self.destinations)])

    @property
    def untouched(self) -> bool:
        return all(each.status == "queued" and not each.attempts for each in self.destinations)

    def edited(self) -> None:
        self.updated_at = self.now

    def attempted(self) -> None:
        if self.attempts_change_posts:
            self.updated_at = self.now

    def status(self) -> str:
        """By the documented rules."""
        statuses = {each.status for each in self.destinations}
        if self.is_draft:
            return "draft"
        if len(statuses) == 1 and statuses <= {"published", "failed"}:
            return statuses.pop()
        if statuses <= {"published", "failed"}:
            return "partially_failed"
        if self.untouched and not self.submitted_now:
            return "scheduled"
        return "publishing"

    def post_answer(self) -> dict[str, Any]:
        data = {
            "post_id": str(POST),
            "post_status": self.status(),
            "content": self.content,
            "scheduled_for": self.scheduled_for and format_instant(self.scheduled_for),
            "timezone": "UTC",
            "destinations": [
                {
                    **each.answer(),
                    "scheduled_for": each.scheduled_for and format_instant(each.scheduled_for),
                }
                for each in self.destinations
            ],
            "created_at": format_instant(self.created_at),
            "updated_at": format_instant(self.updated_at),
        }
        return self._enveloped(data)

    def list_answer(self) -> dict[str, Any]:
        answer = self.post_answer()
        return {**answer, "data": {"posts": [answer["data"]], "total": 1}}

    def results_answer(self) -> dict[str, Any]:
        return self._enveloped(
            {
                "post_id": str(POST),
                "post_status": self.status(),
                "results": [each.answer() for each in self.destinations],
            }
        )

    def _enveloped(self, data: dict[str, Any]) -> dict[str, Any]:
        # An answer is given after what it tells of.
        timestamp = format_instant(self.now + MINUTE / 2)
        return {"data": data, "error": None, "meta": {"timestamp": timestamp}}


def _edit(post: Source, _: SourceDestination) -> None:
    if post.untouched:
        post.content = f"Edited at {post.now}"
        post.edited()


def _add(post: Source, _: SourceDestination) -> None:
    if post.untouched and len(post.destinations) < 4:
        account_id = max(each.account_id for each in post.destinations) + 1
        due_at = post.destinations[0].scheduled_for
        post.destinations.append(SourceDestination(account_id, due_at))
        post.edited()


def _remove(post: Source, destination: SourceDestination) -> None:
    if post.untouched and len(post.destinations) > 1:
        post.destinations.remove(destination)
        post.edited()


def _reverse(post: Source, _: SourceDestination) -> None:
    if post.untouched:
        post.destinations.reverse()
        post.edited()


def _schedule(post: Source, _: SourceDestination) -> None:
    if post.untouched:
        post.is_draft, post.submitted_now = False, False
        post.scheduled_for = post.now + 5 * MINUTE
        _plan(post, post.scheduled_for)


def _publish_now(post: Source, _: SourceDestination) -> None:
    if post.is_draft:
        post.is_draft, post.submitted_now = False, True
        _plan(post, post.now)


def _unschedule(post: Source, _: SourceDestination) -> None:
    if post.untouched:
        post.is_draft, post.submitted_now, post.scheduled_for = True, False, None
        _plan(post, None)


def _plan(post: Source, due_at: datetime | None) -> None:
    for each in post.destinations:
        each.scheduled_for = due_at
    post.edited()


def _start(post: Source, destination: SourceDestination) -> None:
    if not post.is_draft and destination.status == "queued":
        destination.status = "publishing"
        destination.attempts += 1
        destination.error = destination.next_retry_at = None
        post.attempted()


def _wait(post: Source, destination: SourceDestination) -> None:
    if destination.status == "publishing":
        destination.status = "queued"
        destination.error = f"Failed at {post.now}"
        destination.next_retry_at = post.now + 2 * MINUTE
        post.attempted()


def _fail(post: Source, destination: SourceDestination) -> None:
    if destination.status == "publishing":
        destination.status, destination.error = "failed", f"Failed at {post.now}"
        post.attempted()


def _publish(post: Source, destination: SourceDestination) -> None:
    if destination.status == "publishing":
        destination.status, destination.published_at = "published", post.now
        post.attempted()


def _retry(post: Source, destination: SourceDestination) -> None:
    if destination.status == "failed":
        destination.status, destination.error = "queued", None
        post.edited()


_MOVES: dict[str, Callable[[Source, SourceDestination], None]] = {
    "edit": _edit,
    "add": _add,
    "remove": _remove,
    "reverse": _reverse,
    "schedule": _schedule,
    "publish now": _publish_now,
    "unschedule": _unschedule,
    "start": _start,
    "wait": _wait,
    "fail": _fail,
    "publish": _publish,
    "retry": _retry,
    "nothing": lambda _post, _destination: None,
}
MOVES: Sequence[str] = list(_MOVES)
