"""What the demo posts are made from: one instant, the accounts, and a source of draws. No posts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from random import Random

from app.demo import courses
from app.demo.accounts import DemoAccount
from app.demo.courses import Course, Failure
from app.demo.tries import failed_tries, then_published
from app.domain.ids import AccountId


@dataclass(frozen=True, slots=True)
class Scene:
    now: datetime
    accounts: Mapping[AccountId, DemoAccount]
    rng: Random

    def published(self, account_id: AccountId, due_at: datetime, *failures: Failure) -> Course:
        """Published on the account after these failures."""
        tries = failed_tries(self.rng, due_at, failures)
        return courses.published(
            due_at, then_published(self.rng, due_at, tries, self.accounts[account_id])
        )

    def failed(self, due_at: datetime, *failures: Failure) -> Course:
        """Failed for good with the last of these failures."""
        return courses.failed(due_at, failed_tries(self.rng, due_at, failures))
