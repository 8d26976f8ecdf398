"""Random sequences of commands of users, publishers and time, compared with a small model.

Each command must leave the posts of the model, events of this command alone, and consistent publishing
rows. At the end, the events replayed from the start must give every stored row, and the integrity check
must find no problem. STATEFUL_EXAMPLES sets the number of examples.
"""

import asyncio
import os
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis.stateful import initialize, run_state_machine_as_test

from app.db.core.database import Database
from app.db.tools.integrity import find_problems
from tests.stateful.machine import ACCOUNTS
from tests.stateful.publisher_rules import PublisherRules
from tests.stateful.user_rules import UserRules

EXAMPLES = int(os.environ.get("STATEFUL_EXAMPLES", "16"))
STEPS = 30
TIMEOUT = timedelta(minutes=5)

pytestmark = pytest.mark.slow


class PostsMachine(UserRules, PublisherRules):
    """Starts with posts that have reached different states."""

    @initialize()
    def create_initial_posts(self) -> None:
        self.create("One", ACCOUNTS, draft=False, delay=None, key="a")
        self.claim(3, TIMEOUT)
        for index in range(3):
            self.start(index)
        self.fail(0, "TRANSIENT", 1)
        self.fail(1, "PERMANENT", 1)
        self.report_unknown(2)
        self.create("Two", ACCOUNTS, draft=True, delay=None, key=None)
        self.create("Three", ACCOUNTS[1:], draft=False, delay=timedelta(hours=1), key=None)
        self.create("Four", ACCOUNTS[:2], draft=False, delay=None, key=None)


def test_random_commands_behave_like_the_model(database_url: str) -> None:
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
