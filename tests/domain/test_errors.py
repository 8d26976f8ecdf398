"""Error classes: the tree in the module's docstring, codes, statuses and fixes."""

import re
from dataclasses import dataclass

import pytest

import app.domain.errors
from app.domain.errors import (
    ErrorCode,
    MethodNotAllowed,
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
    """Parse the tree in the module's docstring, which ends at the next empty line."""
    text = app.domain.errors.__doc__ or ""
    lines = text[text.index("PostResultsError\n") :].split("\n\n")[0].splitlines()
    ancestors: list[str] = []
    errors = []
    for line in lines:
        match = _TREE_LINE.match(line)
        assert match, f"not a line of the tree: {line!r}"
        name, rest = match["name"], match["rest"]
        level = 0 if name == "PostResultsError" else len(match["lines"]) // 4 + 1
        ancestors[level:] = [name]
        parent = ancestors[level - 1] if level else None
        if details := _TREE_LINE_DETAILS.fullmatch(rest):
            status, code = int(details["status"]), details["code"]
            errors.append(DocumentedError(name, parent, status, code, bool(details["retryable"])))
        else:
            errors.append(DocumentedError(name, parent, says_retryable="retryable" in rest))
    return errors


def all_errors(root: type[PostResultsError] = PostResultsError) -> list[type[PostResultsError]]:
    return [root, *(error for child in root.__subclasses__() for error in all_errors(child))]


def test_every_code_belongs_to_one_class_in_the_same_order() -> None:
    assert [error.code for error in CONCRETE_ERRORS] == list(ErrorCode)
    assert [error.code for error in concrete_errors(RateLimitExceeded)] == ["rate_limit_exceeded"]


def test_tree_has_every_class_below_its_parent_with_status_and_code() -> None:
    documented = [(each.name, each.parent, each.status, each.code) for each in documented_errors()]
    details = {error: (error.http_status, error.code.value) for error in CONCRETE_ERRORS}
    assert documented == [
        (
            error.__name__,
            None if error is PostResultsError else error.__bases__[0].__name__,
            *details.get(error, (None, None)),
        )
        for error in all_errors()
    ]


def test_tree_marks_retryable_errors() -> None:
    documented = {error.name: error for error in documented_errors()}
    for error in CONCRETE_ERRORS:
        parent = documented[error.__bases__[0].__name__]
        says_retryable = documented[error.__name__].says_retryable or parent.says_retryable
        assert says_retryable == error.retryable(), error


def test_429_and_5xx_are_retryable() -> None:
    assert {error.code for error in CONCRETE_ERRORS if error.retryable()} == {
        ErrorCode.RATE_LIMIT_EXCEEDED,
        ErrorCode.INTERNAL_ERROR,
        ErrorCode.SERVICE_UNAVAILABLE,
    }


@pytest.mark.parametrize("error_type", CONCRETE_ERRORS)
def test_every_error_has_its_own_fix(error_type: type[PostResultsError]) -> None:
    assert re.fullmatch(r"[A-Z][^\n]{10,}[^.]\.", error_type.fix)
    assert "fix" in vars(error_type), "inherited fix"


@pytest.mark.parametrize(
    "error_type", [error for error in CONCRETE_ERRORS if error is not MethodNotAllowed]
)
def test_error_stores_its_arguments(error_type: type[PostResultsError]) -> None:
    error = error_type("A sentence.", argument="first", retry_after=7)
    assert (error.message, error.argument, error.retry_after) == ("A sentence.", "first", 7)
    assert str(error) == "A sentence."
    error = error_type("A sentence.")
    assert (error.argument, error.retry_after) == (None, None)


def test_method_not_allowed_stores_the_allowed_methods() -> None:
    error = MethodNotAllowed("A sentence.", allowed="GET, HEAD")
    assert (error.message, error.allowed) == ("A sentence.", "GET, HEAD")
    assert (error.argument, error.retry_after) == (None, None)
