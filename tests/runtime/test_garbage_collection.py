import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from app.runtime.computations import compute, is_idle, run_in_thread
from app.runtime.garbage_collection import FullCollections, tune_garbage_collection


class Cycle:
    """An object that only the garbage collector frees."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def count_collections(generation: int) -> int:
    return int(gc.get_stats()[generation]["collections"])


def allocate_lists(count: int) -> list[list[object]]:
    return [[] for _ in range(count)]


def old_garbage() -> "weakref.ref[Cycle]":
    """Create garbage of the oldest generation, and allocate so much that a full collection is due."""
    cycle = Cycle()
    reference = weakref.ref(cycle)
    for _ in range(50):
        gc.collect(1)
    del cycle
    return reference


@pytest.mark.usefixtures("thresholds")
async def test_objects_of_a_large_computation_are_not_searched_again() -> None:
    tune_garbage_collection()
    full, middle = count_collections(2), count_collections(1)

    tree = await compute(allocate_lists, 2_000_000)

    assert count_collections(1) - middle > 50
    assert count_collections(2) == full
    assert len(tree) == 2_000_000


async def test_full_collection_is_due_after_many_allocations() -> None:
    collections = FullCollections(is_idle, lambda: 0)
    before = count_collections(2)

    await collections.collect_if_due()
    assert count_collections(2) == before

    garbage = old_garbage()
    await collections.collect_if_due()
    assert (count_collections(2), garbage()) == (before + 1, None)

    await collections.collect_if_due()
    assert count_collections(2) == before + 1


@pytest.mark.parametrize("kind", ["function", "coroutine"])
async def test_full_collection_waits_for_computations(kind: str) -> None:
    is_over, seconds = threading.Event(), 0.0
    collections = FullCollections(is_idle, lambda: seconds)
    garbage = old_garbage()

    def wait_in_function() -> None:
        is_over.wait(30)

    async def wait() -> None:
        await asyncio.to_thread(wait_in_function)

    running = asyncio.create_task(
        run_in_thread(wait) if kind == "coroutine" else compute(wait_in_function)
    )
    try:
        await asyncio.sleep(0.05)
        seconds = 299
        await collections.collect_if_due()
        assert garbage() is not None
        seconds = 300
        await collections.collect_if_due()
        assert garbage() is None
    finally:
        is_over.set()
        await running
    garbage = old_garbage()
    async with asyncio.timeout(20):
        while not is_idle():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await collections.collect_if_due()
    assert garbage() is None
