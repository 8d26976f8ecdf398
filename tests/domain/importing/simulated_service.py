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
class SimulatedDestination:
    account_id: int
    scheduled_for: datetime | None
    status: str = "queued"
    attempts: int = 0
    published_at: datetime | None = None
    error: str | None = None
    next_retry_at: datetime | None = None

    def result_entry(self) -> dict[str, Any]:
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
class SimulatedService:
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
    destinations: list[SimulatedDestination] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.destinations = [SimulatedDestination(each, None) for each in (1, 2)]

    def apply_command(self, command: str, account: int) -> None:
        """Do what the move says, where it can be done; else only time passes."""
        self.now += MINUTE
        _COMMANDS[command](self, self.destinations[account % len(self.destinations)])

    @property
    def never_attempted(self) -> bool:
        return all(each.status == "queued" and not each.attempts for each in self.destinations)

    def mark_edited(self) -> None:
        self.updated_at = self.now

    def mark_attempted(self) -> None:
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
        if self.never_attempted and not self.submitted_now:
            return "scheduled"
        return "publishing"

    def post_response(self) -> dict[str, Any]:
        data = {
            "post_id": str(POST),
            "post_status": self.status(),
            "content": self.content,
            "scheduled_for": self.scheduled_for and format_instant(self.scheduled_for),
            "timezone": "UTC",
            "destinations": [
                {
                    **each.result_entry(),
                    "scheduled_for": each.scheduled_for and format_instant(each.scheduled_for),
                }
                for each in self.destinations
            ],
            "created_at": format_instant(self.created_at),
            "updated_at": format_instant(self.updated_at),
        }
        return self._enveloped(data)

    def list_response(self) -> dict[str, Any]:
        answer = self.post_response()
        return {**answer, "data": {"posts": [answer["data"]], "total": 1}}

    def results_response(self) -> dict[str, Any]:
        return self._enveloped(
            {
                "post_id": str(POST),
                "post_status": self.status(),
                "results": [each.result_entry() for each in self.destinations],
            }
        )

    def _enveloped(self, data: dict[str, Any]) -> dict[str, Any]:
        # An answer is given after what it tells of.
        timestamp = format_instant(self.now + MINUTE / 2)
        return {"data": data, "error": None, "meta": {"timestamp": timestamp}}


def _edit(post: SimulatedService, _: SimulatedDestination) -> None:
    if post.never_attempted:
        post.content = f"Edited at {post.now}"
        post.mark_edited()


def _add(post: SimulatedService, _: SimulatedDestination) -> None:
    if post.never_attempted and len(post.destinations) < 4:
        account_id = max(each.account_id for each in post.destinations) + 1
        due_at = post.destinations[0].scheduled_for
        post.destinations.append(SimulatedDestination(account_id, due_at))
        post.mark_edited()


def _remove(post: SimulatedService, destination: SimulatedDestination) -> None:
    if post.never_attempted and len(post.destinations) > 1:
        post.destinations.remove(destination)
        post.mark_edited()


def _reverse_destinations(post: SimulatedService, _: SimulatedDestination) -> None:
    if post.never_attempted:
        post.destinations.reverse()
        post.mark_edited()


def _schedule(post: SimulatedService, _: SimulatedDestination) -> None:
    if post.never_attempted:
        post.is_draft, post.submitted_now = False, False
        post.scheduled_for = post.now + 5 * MINUTE
        _set_due_at(post, post.scheduled_for)


def _publish_now(post: SimulatedService, _: SimulatedDestination) -> None:
    if post.is_draft:
        post.is_draft, post.submitted_now = False, True
        _set_due_at(post, post.now)


def _unschedule(post: SimulatedService, _: SimulatedDestination) -> None:
    if post.never_attempted:
        post.is_draft, post.submitted_now, post.scheduled_for = True, False, None
        _set_due_at(post, None)


def _set_due_at(post: SimulatedService, due_at: datetime | None) -> None:
    for each in post.destinations:
        each.scheduled_for = due_at
    post.mark_edited()


def _start(post: SimulatedService, destination: SimulatedDestination) -> None:
    if not post.is_draft and destination.status == "queued":
        destination.status = "publishing"
        destination.attempts += 1
        destination.error = destination.next_retry_at = None
        post.mark_attempted()


def _schedule_retry(post: SimulatedService, destination: SimulatedDestination) -> None:
    if destination.status == "publishing":
        destination.status = "queued"
        destination.error = f"Failed at {post.now}"
        destination.next_retry_at = post.now + 2 * MINUTE
        post.mark_attempted()


def _fail(post: SimulatedService, destination: SimulatedDestination) -> None:
    if destination.status == "publishing":
        destination.status, destination.error = "failed", f"Failed at {post.now}"
        post.mark_attempted()


def _publish(post: SimulatedService, destination: SimulatedDestination) -> None:
    if destination.status == "publishing":
        destination.status, destination.published_at = "published", post.now
        post.mark_attempted()


def _retry(post: SimulatedService, destination: SimulatedDestination) -> None:
    if destination.status == "failed":
        destination.status, destination.error = "queued", None
        post.mark_edited()


_COMMANDS: dict[str, Callable[[SimulatedService, SimulatedDestination], None]] = {
    "edit": _edit,
    "add": _add,
    "remove": _remove,
    "reverse": _reverse_destinations,
    "schedule": _schedule,
    "publish now": _publish_now,
    "unschedule": _unschedule,
    "start": _start,
    "wait": _schedule_retry,
    "fail": _fail,
    "publish": _publish,
    "retry": _retry,
    "nothing": lambda _post, _destination: None,
}
COMMANDS: Sequence[str] = list(_COMMANDS)
