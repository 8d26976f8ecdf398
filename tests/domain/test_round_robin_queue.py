"""Order of the items of several callers."""

import pytest

from app.domain.round_robin_queue import RoundRobinQueue


def pop_all(queue: RoundRobinQueue[int]) -> list[int]:
    items = []
    while queue:
        items.append(queue.pop())
    return items


def test_callers_rotate_and_items_of_one_caller_stay_in_order() -> None:
    queue: RoundRobinQueue[int] = RoundRobinQueue()
    for caller, item in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("b", 5), ("c", 6)]:
        queue.append(caller, item)

    assert pop_all(queue) == [1, 4, 6, 2, 5, 3]


def test_caller_that_returns_is_the_last() -> None:
    queue: RoundRobinQueue[int] = RoundRobinQueue()
    queue.append("a", 1)
    queue.append("b", 2)
    assert queue.pop() == 1
    queue.append("a", 3)

    assert pop_all(queue) == [2, 3]


def test_items_are_counted_per_caller() -> None:
    queue: RoundRobinQueue[int] = RoundRobinQueue()
    queue.append("a", 1)
    queue.append("a", 2)

    assert [queue.count("a"), queue.count("b")] == [2, 0]
    pop_all(queue)
    assert queue.count("a") == 0


def test_empty_rotation_has_no_next_item() -> None:
    with pytest.raises(KeyError):
        RoundRobinQueue[int]().pop()


def test_next_item_of_allowed_callers_leaves_the_others_in_front() -> None:
    queue: RoundRobinQueue[int] = RoundRobinQueue()
    for caller, item in [("a", 1), ("a", 2), ("b", 3), ("b", 4), ("c", 5)]:
        queue.append(caller, item)

    assert queue.pop_if(lambda caller: caller != "a") == 3
    assert queue.pop_if(lambda caller: caller == "d") is None
    assert pop_all(queue) == [1, 5, 4, 2]
