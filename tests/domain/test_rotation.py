"""Order of the items of several callers."""

import pytest

from app.domain.rotation import Rotation


def pop_all(rotation: Rotation[int]) -> list[int]:
    items = []
    while rotation:
        items.append(rotation.pop())
    return items


def test_callers_rotate_and_items_of_one_caller_stay_in_order() -> None:
    rotation: Rotation[int] = Rotation()
    for caller, item in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("b", 5), ("c", 6)]:
        rotation.append(caller, item)

    assert pop_all(rotation) == [1, 4, 6, 2, 5, 3]


def test_caller_that_returns_is_the_last() -> None:
    rotation: Rotation[int] = Rotation()
    rotation.append("a", 1)
    rotation.append("b", 2)
    assert rotation.pop() == 1
    rotation.append("a", 3)

    assert pop_all(rotation) == [2, 3]


def test_items_are_counted_per_caller() -> None:
    rotation: Rotation[int] = Rotation()
    rotation.append("a", 1)
    rotation.append("a", 2)

    assert [rotation.count("a"), rotation.count("b")] == [2, 0]
    pop_all(rotation)
    assert rotation.count("a") == 0


def test_empty_rotation_has_no_next_item() -> None:
    with pytest.raises(KeyError):
        Rotation[int]().pop()
