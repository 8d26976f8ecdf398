"""The tree of errors, its drawing, and what each of them says."""

import re
from dataclasses import dataclass

import pytest

import app.domain.errors
from app.domain.errors import (
    ErrorCode,
    InvalidInput,
    PostResultsError,
    RateLimitExceeded,
    concrete_errors,
)

CONCRETE_ERRORS = list(concrete_errors())

_TREE_LINE = re.compile(r"^(?P<lines>[│ ]*)(?:[├└]── )?(?P<name>[A-Z]\w+)(?P<rest>.*)$")
_TREE_LINE_DETAILS = re.compile(
    r" +(?P<status>\d{3})   (?P<code>[a-z_]+)(?P<retryable>   retryable)?"
)


@dataclass(frozen=True)
class DocumentedError:
    name: str
    parent: str | None
    status: int | None = None
    code: str | None = None
    says_retryable: bool = False


def documented_errors() -> list[DocumentedError]:
    """The classes in the module's docstring, from the root down to the next empty line."""
    text = app.domain.errors.__doc__ or ""
    lines = text[text.index("PostResultsError\n") :].split("\n\n")[0].splitlines()
    above: list[str] = []
    drawn = []
    for line in lines:
        found = _TREE_LINE.match(line)
        assert found, f"not a line of the drawing: {line!r}"
        level = 0 if found["name"] == "PostResultsError" else len(found["lines"]) // 4 + 1
        above[level:] = [found["name"]]
        parent = above[level - 1] if level else None
        if rest := _TREE_LINE_DETAILS.fullmatch(found["rest"]):
            status, code, retryable = int(rest["status"]), rest["code"], bool(rest["retryable"])
            drawn.append(DocumentedError(found["name"], parent, status, code, retryable))
        else:
            drawn.append(
                DocumentedError(found["name"], parent, says_retryable="retryable" in found["rest"])
            )
    return drawn


def all_errors(root: type[PostResultsError] = PostResultsError) -> list[type[PostResultsError]]:
    return [root, *(error for child in root.__subclasses__() for error in all_errors(child))]


def test_every_code_belongs_to_exactly_one_class() -> None:
    assert sorted(error.code for error in CONCRETE_ERRORS) == sorted(ErrorCode)


def test_the_codes_are_listed_in_the_order_of_the_classes() -> None:
    assert [error.code for error in CONCRETE_ERRORS] == list(ErrorCode)


def test_the_drawing_shows_exactly_the_classes_in_their_places() -> None:
    shown = [(drawn.name, drawn.parent) for drawn in documented_errors()]
    assert shown == [
        (error.__name__, None if error is PostResultsError else error.__bases__[0].__name__)
        for error in all_errors()
    ]


def test_the_drawing_shows_every_status_and_code() -> None:
    shown = [(drawn.name, drawn.status, drawn.code) for drawn in documented_errors() if drawn.code]
    assert shown == [
        (error.__name__, error.http_status, error.code.value) for error in CONCRETE_ERRORS
    ]


def test_the_drawing_says_what_is_retryable() -> None:
    drawn = {one.name: one for one in documented_errors()}
    for error in CONCRETE_ERRORS:
        parent = drawn[error.__bases__[0].__name__]
        says_retryable = drawn[error.__name__].says_retryable or parent.says_retryable
        assert says_retryable == error.retryable(), error


def test_exactly_429_and_5xx_are_retryable() -> None:
    assert {error.code for error in CONCRETE_ERRORS if error.retryable()} == {
        ErrorCode.RATE_LIMIT_EXCEEDED,
        ErrorCode.INTERNAL_ERROR,
        ErrorCode.SERVICE_UNAVAILABLE,
    }
    for error in CONCRETE_ERRORS:
        assert error.retryable() == (error.http_status == 429 or error.http_status >= 500)


@pytest.mark.parametrize("error", CONCRETE_ERRORS)
def test_every_fix_is_a_sentence(error: type[PostResultsError]) -> None:
    assert re.fullmatch(r"[A-Z][^\n]{10,}[^.]\.", error.fix)
    assert "fix" in vars(error), "a fix of its own, not its parent's"


@pytest.mark.parametrize("error", CONCRETE_ERRORS)
def test_every_error_keeps_what_it_is_told(error: type[PostResultsError]) -> None:
    told = error("A sentence.", argument="first", retry_after=7)
    assert (told.message, told.argument, told.retry_after) == ("A sentence.", "first", 7)
    assert str(told) == "A sentence."
    plain = error("A sentence.")
    assert (plain.message, plain.argument, plain.retry_after) == ("A sentence.", None, None)


def test_an_error_below_another_is_listed_after_it() -> None:
    assert CONCRETE_ERRORS.index(InvalidInput) == 0
    assert [error.code for error in concrete_errors(RateLimitExceeded)] == ["rate_limit_exceeded"]
