"""Shares of the memory of objects: per key, in total, and of objects that are held several times."""

from contextlib import ExitStack

import pytest

from app.http.memory_budget import MemoryBudget


class OverBudget(Exception):
    pass


def make_budget() -> MemoryBudget:
    return MemoryBudget(100, OverBudget)


def test_one_key_may_hold_half_and_another_key_half_of_the_rest() -> None:
    budget = make_budget()
    with ExitStack() as held:
        for number in range(5):
            held.enter_context(budget.reserve("first", {number: 10}))
        with pytest.raises(OverBudget):
            budget.check("first", {"more": 1})
        for number in range(5, 7):
            held.enter_context(budget.reserve("second", {number: 10}))
        with pytest.raises(OverBudget):
            budget.check("second", {"more": 11})
        budget.check("second", {"more": 10})
        with budget.reserve("third", {"small": 1}):
            pass
    for key in ("first", "second"):
        with budget.reserve(key, {"large": 50}), pytest.raises(OverBudget):
            budget.check(key, {"more": 1})


def test_an_object_counts_once_and_for_each_of_its_keys() -> None:
    budget = make_budget()
    with ExitStack() as held:
        for key in ("first", "first", "second"):
            held.enter_context(budget.reserve(key, {"shared": 40}))
        for key in ("first", "second"):
            budget.check(key, {"shared": 40, "own": 20})
            with pytest.raises(OverBudget):
                budget.check(key, {"shared": 40, "own": 21})
        budget.check("third", {"own": 60})


def test_an_object_is_counted_until_its_last_holder_releases_it() -> None:
    budget = make_budget()
    first, second = budget.reserve("key", {"shared": 50}), budget.reserve("key", {"shared": 50})
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with pytest.raises(OverBudget):
        budget.check("key", {"own": 1})
    second.__exit__(None, None, None)
    budget.check("key", {"own": 50})


def test_an_object_of_any_size_may_be_held_while_nothing_else_is() -> None:
    budget = make_budget()
    with budget.reserve("first", {"huge": 1000}):
        for key in ("first", "second"):
            with pytest.raises(OverBudget):
                budget.check(key, {"more": 1})
        with budget.reserve("second", {"huge": 1000}):
            pass


def test_a_refused_reservation_counts_nothing() -> None:
    budget = make_budget()
    with budget.reserve("key", {"first": 50}):
        with pytest.raises(OverBudget), budget.reserve("key", {"second": 10, "third": 10}):
            pass
        with budget.reserve("another", {"fourth": 50}):
            pass
    with budget.reserve("key", {"first": 60}):
        budget.check("another", {"second": 40})


def test_key_that_holds_its_share_is_refused_until_it_holds_less() -> None:
    budget = make_budget()
    with budget.count("key", {"first": 49}):
        budget.check_share("key")
        with budget.count("key", {"second": 1}), pytest.raises(OverBudget):
            budget.check_share("key")
        budget.check_share("key")


def test_key_that_holds_nothing_is_below_its_share_even_above_the_limit() -> None:
    budget = make_budget()
    with budget.count("first", {"huge": 1000}):
        budget.check_share("second")


def test_refusal_is_caused_by_the_keys_that_hold_as_much_as_the_refused_one() -> None:
    budget = make_budget()
    with ExitStack() as held:
        for key, size in {"least": 9, "same": 10, "most": 30, "refused": 10}.items():
            held.enter_context(budget.count(key, {key: size}))
        watches = {key: budget.watch_refusals(key) for key in ("least", "same", "most", "refused")}
        assert [key for key, was_refused in watches.items() if was_refused()] == []
        with pytest.raises(OverBudget):
            budget.check("refused", {"more": 50})
        late = budget.watch_refusals("most")

        causes = [key for key, was_refused in watches.items() if was_refused()]
        assert causes == ["same", "most", "refused"]
        assert [key for key, was_refused in watches.items() if was_refused()] == []
        assert not late()
