"""Any commands of people, publishers and clocks, one after the other: a small model says what comes of each.

After each, the posts are as the model has them, the events are those of this one errand, and what
publishing writes does not contradict itself; in the end the feed, read from its start, gives every row,
and the check of the last example finds nothing. LIFE_EXAMPLES runs more.
"""

import asyncio
import os
from datetime import timedelta

from hypothesis import settings
from hypothesis.stateful import initialize, run_state_machine_as_test

from app.db.core.database import Database
from app.db.tools.integrity import find_problems
from tests.stateful.machine import ACCOUNTS
from tests.stateful.publisher_rules import PublisherRules
from tests.stateful.user_rules import UserRules

EXAMPLES = int(os.environ.get("LIFE_EXAMPLES", "16"))
STEPS = 30
TIMEOUT = timedelta(minutes=5)


class PostsMachine(UserRules, PublisherRules):
    """From posts on that have come to their various ends."""

    @initialize()
    def create_initial_posts(self) -> None:
        self.create("One", ACCOUNTS, draft=False, delay=None, key="a")
        self.claim(3, TIMEOUT)
        for place in range(3):
            self.start(place)
        self.fail(0, "TIMEOUT", 1)
        self.fail(1, "PERMANENT", 1)
        self.report_unknown(2)
        self.create("Two", ACCOUNTS, draft=True, delay=None, key=None)
        self.create("Three", ACCOUNTS[1:], draft=False, delay=timedelta(hours=1), key=None)
        self.create("Four", ACCOUNTS[:2], draft=False, delay=None, key=None)


def test_the_life_of_posts_is_that_of_the_model(database_url: str) -> None:
    with asyncio.Runner() as runner:
        database = Database(database_url)
        try:
            run_state_machine_as_test(
                lambda: PostsMachine(runner, database),  # type: ignore[arg-type]
                settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS),
            )
            assert runner.run(find_problems(database)) == []
        finally:
            runner.run(database.__aexit__())
