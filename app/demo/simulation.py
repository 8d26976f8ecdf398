"""Simulates the publishers and platforms of the demo posts, through the domain's own functions.

All randomness comes from one generator, so the same seed gives the same histories.
"""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import TypeAlias
from uuid import UUID

from app.demo.accounts import DemoAccount
from app.demo.contents import draw_uuid
from app.domain.attempts import Attempt, Evidence, Failure, Publication
from app.domain.destinations import Destination, DestinationState
from app.domain.ids import DEMO_WORKSPACE_ID, AccountId, DestinationId, PostId
from app.domain.leases import Lease
from app.domain.post_commands import NewPost, create_post
from app.domain.posts import Post
from app.domain.reports import (
    ReportContext,
    expire_lease,
    report_failed,
    report_published,
    start_attempt,
)
from app.domain.retry_policy import DEFAULT_POLICIES
from app.domain.settlement import History, RetryDecider, Transition
from app.domain.transitions import claimed, retried

LEASE = timedelta(minutes=5)

_SLOW_PLATFORMS = ("youtube", "tiktok")
_LATE_START_RATE = 0.06

_LETTERS = string.ascii_letters + string.digits
_BASE_64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
_POST_URLS = {
    "instagram": "https://www.instagram.com/p/{code}/",
    "facebook": "https://www.facebook.com/{page}/posts/{post}",
    "x": "https://x.com/{handle}/status/{post}",
    "linkedin": "https://www.linkedin.com/feed/update/{post}/",
    "youtube": "https://www.youtube.com/watch?v={post}",
    "tiktok": "https://www.tiktok.com/@{handle}/video/{post}",
    "threads": "https://www.threads.com/@{handle}/post/{post}",
    "pinterest": "https://www.pinterest.com/pin/{post}/",
}


@dataclass(frozen=True, slots=True)
class PostHistory:
    """A post with the attempts and the publish evidence of its destinations."""

    post: Post
    attempts: Mapping[DestinationId, Sequence[Attempt]]
    evidence: Mapping[DestinationId, Sequence[Evidence]]


@dataclass(slots=True)
class SimulatedDestination:
    """One destination, and what its publishers have reported so far."""

    post_id: PostId
    destination: Destination
    account: DemoAccount
    rng: Random
    now: datetime
    state: DestinationState = field(init=False)
    updated_at: datetime = field(init=False)
    attempts: dict[UUID, Attempt] = field(init=False, default_factory=dict)
    evidence: list[Evidence] = field(init=False, default_factory=list)
    lost_lease: Lease | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.state = self.destination.state
        self.updated_at = self.destination.updated_at

    def seconds_after_due(self, seconds: float) -> datetime:
        """Return a time relative to the due time of the destination, which is not a draft's."""
        if self.state.due_at is None:
            raise ValueError("a draft is not due")
        return self.state.due_at + timedelta(seconds=seconds)

    def claim(self, at: datetime) -> Lease:
        token = draw_uuid(self.rng)
        self._set_state(claimed(self.state, token, at + LEASE), at)
        return Lease(DEMO_WORKSPACE_ID, self.post_id, self.destination.id, self.state.fence, token)

    def start(self, at: datetime) -> Lease:
        """Claim the destination and start an attempt."""
        lease = self.claim(at)
        transition, _ = start_attempt(
            self.state,
            self._history(),
            self._report_context(lease, at),
            worker=f"publisher-{self.rng.randint(1, 3)}",
            blocking_reason=None,
        )
        self._apply(transition, at)
        return lease

    def report_published(self, lease: Lease, publication: Publication, at: datetime) -> None:
        context = self._report_context(lease, at)
        self._apply(report_published(self.state, self._history(), context, publication), at)

    def report_failed(self, lease: Lease, failure: Failure, at: datetime) -> None:
        retry_decider = RetryDecider(DEFAULT_POLICIES, self.rng.random)
        context = self._report_context(lease, at)
        self._apply(report_failed(self.state, self._history(), context, failure, retry_decider), at)

    def attempt(self, started_at: datetime, result: Failure | Publication, at: datetime) -> None:
        """Start an attempt and report its result at `at`."""
        lease = self.start(started_at)
        if isinstance(result, Publication):
            self.report_published(lease, result, at)
        else:
            self.report_failed(lease, result, at)

    def lose_lease(self, started_at: datetime) -> None:
        """Start an attempt whose lease expires without a report."""
        self.lost_lease = self.start(started_at)
        expired_at = started_at + LEASE
        if transition := expire_lease(self.state, self._history(), expired_at):
            self._apply(transition, expired_at)

    def report_late(self, at: datetime) -> None:
        """Report that the attempt whose lease expired published soon after the due time."""
        if self.lost_lease is None:
            raise ValueError("no lease of the destination has expired")
        publication = self.draw_publication(self.seconds_after_due(4))
        self.report_published(self.lost_lease, publication, at)

    def retry(self, at: datetime) -> None:
        """Retry the failed destination by hand."""
        self._set_state(retried(self.state, at), at)

    def publish_attempt(self) -> None:
        """Publish with the next attempt, which starts when the destination becomes claimable."""
        started_at = self._draw_start()
        is_slow = self.destination.platform in _SLOW_PLATFORMS
        published_at = started_at + draw_seconds(self.rng, *((6, 40) if is_slow else (0.4, 4)))
        reported_at = published_at + draw_seconds(self.rng, 0.02, 0.3)
        self.attempt(started_at, self.draw_publication(published_at), reported_at)

    def fail_attempt(self, failure: Failure) -> None:
        """Fail with the next attempt, which starts when the destination becomes claimable."""
        started_at = self._draw_start()
        self.attempt(started_at, failure, started_at + draw_seconds(self.rng, 0.3, 5))

    def fail_until_final(self, failure: Failure) -> None:
        """Repeat a failure until the retry policy makes it final."""
        while not self.state.status.is_final:
            self.fail_attempt(failure)

    def draw_publication(self, published_at: datetime) -> Publication:
        """Draw a post id and URL in the platform's format; the URL leads to no real post."""
        account = self.account.account
        post_id = _draw_post_id(self.rng, account.platform)
        return Publication(
            published_at=published_at,
            platform_post_id=post_id,
            platform_post_url=_POST_URLS[account.platform].format(
                handle=account.platform_username,
                page=account.platform_user_id,
                post=post_id,
                code=_shortcode(post_id) if account.platform == "instagram" else "",
            ),
        )

    @property
    def result(self) -> Destination:
        return replace(self.destination, state=self.state, updated_at=self.updated_at)

    def _draw_start(self) -> datetime:
        """Draw the start of the next attempt, shortly after the destination becomes claimable."""
        state = self.state
        if state.claimable_at is None or state.round_started_at is None:
            raise ValueError("the destination cannot be claimed")
        claimable_at = max(state.claimable_at, state.round_started_at)
        if state.attempts:
            return claimable_at + draw_seconds(self.rng, 0.1, 1.5)
        is_late = self.rng.random() < _LATE_START_RATE
        return claimable_at + draw_seconds(self.rng, *((8, 75) if is_late else (0.4, 6)))

    def _history(self) -> History:
        return History(self.destination.platform, [*self.attempts.values()], self.evidence)

    def _report_context(self, lease: Lease, at: datetime) -> ReportContext:
        return ReportContext(lease, lambda: draw_uuid(self.rng), at)

    def _apply(self, transition: Transition, at: datetime) -> None:
        self.attempts |= {attempt.id: attempt for attempt in transition.attempts}
        if transition.evidence is not None:
            self.evidence.append(transition.evidence)
        self._set_state(transition.state, at)

    def _set_state(self, state: DestinationState, at: datetime) -> None:
        if state != self.state:
            self.state, self.updated_at = state, at


Step: TypeAlias = Callable[[SimulatedDestination], object]

PublisherScript: TypeAlias = Sequence[Step]
"""Steps that lead one destination from its creation to its state in the demo."""

WAIT: PublisherScript = ()
"""Leaves the destination unclaimed."""


def publish(*failures: Failure) -> PublisherScript:
    """Publish after these failures, each followed by its automatic retry."""
    return [*map(_fail_once, failures), SimulatedDestination.publish_attempt]


def fail(*failures: Failure) -> PublisherScript:
    """Fail with these failures; the last one repeats until the retry policy makes it final."""
    return [
        *map(_fail_once, failures),
        lambda destination: destination.fail_until_final(failures[-1]),
    ]


def _fail_once(failure: Failure) -> Step:
    return lambda destination: destination.fail_attempt(failure)


def at(seconds: float, step: Callable[[SimulatedDestination, datetime], object]) -> Step:
    """Run a step at this number of seconds after the due time."""
    return lambda destination: step(destination, destination.seconds_after_due(seconds))


def attempt(started: float, result: Failure | Publication, ended: float) -> Step:
    """Run an attempt with this result; start and end are in seconds after the due time."""
    return lambda destination: destination.attempt(
        destination.seconds_after_due(started), result, destination.seconds_after_due(ended)
    )


@dataclass(frozen=True, slots=True)
class Simulator:
    """Source of demo posts that were published, or not, by the time `now`."""

    now: datetime
    accounts: Mapping[AccountId, DemoAccount]
    rng: Random

    def new_id(self) -> UUID:
        return draw_uuid(self.rng)

    def post(
        self,
        content: str,
        scripts: Mapping[AccountId, PublisherScript],
        *,
        created_at: datetime,
        scheduled_for: datetime | None = None,
        is_draft: bool = False,
        timezone: str | None = None,
        media: Sequence[Mapping[str, str]] = (),
        platform_content: Mapping[str, object] | None = None,
        reference: str | None = None,
        ids: Sequence[UUID] = (),
    ) -> PostHistory:
        """Create a post and run the script of each destination.

        `ids` are those of the post and of its destinations; without them, ids are drawn.
        """
        post_id, *destination_ids = ids or [self.new_id() for _ in range(1 + len(scripts))]
        created = create_post(
            NewPost(
                content=content,
                account_ids=list(scripts),
                scheduled_for=scheduled_for,
                is_draft=is_draft,
                timezone=timezone,
                media_ids=[medium["id"] for medium in media],
                media=[dict(medium) for medium in media],
                platform_content=platform_content or {},
                reference=reference,
            ),
            {account_id: self.accounts[account_id].account for account_id in scripts},
            post_id=PostId(post_id),
            new_id=iter(destination_ids).__next__,
            now=created_at,
        )
        destinations = []
        for destination in created.destinations:
            simulated = SimulatedDestination(
                created.id, destination, self.accounts[destination.account_id], self.rng, self.now
            )
            for step in scripts[destination.account_id]:
                step(simulated)
            destinations.append(simulated)
        results = tuple(simulated.result for simulated in destinations)
        return PostHistory(
            post=replace(
                created,
                destinations=results,
                updated_at=max([created_at, *(result.updated_at for result in results)]),
            ),
            attempts={
                simulated.destination.id: [*simulated.attempts.values()]
                for simulated in destinations
            },
            evidence={simulated.destination.id: simulated.evidence for simulated in destinations},
        )


def draw_seconds(rng: Random, shortest: float, longest: float) -> timedelta:
    """Draw a duration between two numbers of seconds, in whole milliseconds."""
    return timedelta(milliseconds=round(rng.uniform(shortest, longest) * 1000))


def _draw_post_id(rng: Random, platform: str) -> str:
    match platform:
        case "youtube" | "threads":
            return "".join(rng.choices(_LETTERS, k=11))
        case "linkedin":
            return f"urn:li:share:7{_draw_digits(rng, 18)}"
        case "facebook":
            return f"1{_draw_digits(rng, 14)}"
        case _:
            return f"17{_draw_digits(rng, 17)}"


def _draw_digits(rng: Random, count: int) -> str:
    return "".join(rng.choices(string.digits, k=count))


def _shortcode(number: str) -> str:
    """Encode a post id in base 64, the form that Instagram's URLs have."""
    rest, code = int(number), ""
    while rest:
        rest, digit = divmod(rest, 64)
        code = _BASE_64[digit] + code
    return code
