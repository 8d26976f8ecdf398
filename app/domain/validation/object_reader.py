"""Typed access to the members of a JSON object or TOML table, with errors that name the path."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import TypeGuard, TypeVar
from uuid import UUID

from app.domain.errors import InvalidInput
from app.domain.ids import AccountId, invalid_account_id_error, parse_uuid, validate_account_id
from app.domain.times import parse_instant
from app.domain.validation.json_values import check_json, display_key
from app.domain.validation.text import closest_name, validate_text, validate_url

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

MAX_INT32 = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ObjectReader:
    """An object at a path. Missing and null members are equivalent.

    Every method raises InvalidInput, with the member's path, for a value that is not null or valid.
    """

    members: Mapping[str, object]
    path: str = ""

    def has(self, name: str) -> bool:
        return self.members.get(name) is not None

    def string(self, name: str) -> str | None:
        """Return a string unchanged, including an empty one."""
        return self._get_typed(str, name, "a string")

    def strings(self, name: str) -> list[str] | None:
        entries = self._get_typed(list, name, "a list")
        for index, entry in enumerate(entries or ()):
            if not isinstance(entry, str):
                raise self.error(f"{name}[{index}]", "must be a string")
        return entries

    def text(self, name: str, *, max_length: int) -> str | None:
        """Return a string; None for an empty one."""
        return self._parse(name, partial(validate_text, max_length=max_length))

    def required_text(self, name: str, *, max_length: int) -> str:
        value = self.text(name, max_length=max_length)
        if value is None:
            raise self.error(name, "is missing")
        return value

    def enum(self, name: str, choices: Mapping[str, E]) -> E | None:
        """Return the choice with the member's value as its key."""
        value = self.choice(name, choices)
        return None if value is None else choices[value]

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """Return a string that is one of the choices."""
        value = self.string(name)
        if value is not None and value not in choices:
            raise self.error(name, f"must be one of {', '.join(choices)}{_nearest(value, choices)}")
        return value

    def text_or_number(self, name: str, *, max_length: int) -> str | None:
        """Return a string, or the digits of a whole number."""
        value = self.members.get(name)
        if _is_whole_number(value):
            return validate_text(str(value), self._member_path(name), max_length=max_length)
        return self.text(name, max_length=max_length)

    def uuids(self, name: str) -> list[UUID] | None:
        texts = self.strings(name)
        if texts is None:
            return None
        return [
            parse_uuid(text, self._member_path(f"{name}[{index}]"))
            for index, text in enumerate(texts)
        ]

    def url(self, name: str) -> str | None:
        return self._parse(name, validate_url)

    def instant(self, name: str) -> datetime | None:
        return self._parse(name, parse_instant)

    def whole_number(self, name: str, low: int, high: int) -> int | None:
        value = self._get_typed(int, name, "a whole number")
        if value is not None and not low <= value <= high:
            raise self.error(name, f"must be a whole number from {low} to {high}")
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        value = self.members.get(name)
        if value is None:
            return None
        if not (_is_whole_number(value) or isinstance(value, float)) or not low <= value <= high:
            raise self.error(name, f"must be a number from {low:g} to {high:g}")
        return float(value)

    def boolean(self, name: str) -> bool | None:
        value = self.members.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.error(name, "must be true or false")
        return value

    def account_id(self, name: str) -> AccountId:
        value = self.members.get(name)
        if not _is_whole_number(value):
            raise invalid_account_id_error(self._member_path(name))
        return validate_account_id(value, self._member_path(name))

    def account_ids(self, name: str) -> list[AccountId] | None:
        entries = self._get_typed(list, name, "a list")
        if entries is None:
            return None
        by_path = {f"{name}[{index}]": entry for index, entry in enumerate(entries)}
        return [ObjectReader(by_path, self.path).account_id(path) for path in by_path]

    def uuid(self, name: str) -> UUID | None:
        return self._parse(name, parse_uuid)

    def nested_object(self, name: str) -> "ObjectReader":
        """Return the reader of an object, empty if it is missing."""
        value = self._get_typed(dict, name, "a table") or {}
        return ObjectReader(value, f"{self._member_path(name)}.")

    def forbid_unknown(self, allowed: Collection[str]) -> None:
        """Raise InvalidInput for a member with another name, with the allowed name nearest to it."""
        for name in self.members:
            if name not in allowed:
                names = ", ".join(allowed) or "none"
                raise self.error(
                    display_key(name), f"is unknown; there is {names}{_nearest(name, allowed)}"
                )

    def objects(self, name: str, *, max_length: int) -> Iterator["ObjectReader"]:
        """Yield the entries of a list of objects, which must not be missing."""
        entries = self.members.get(name)
        if not isinstance(entries, list):
            raise self.error(name, "must be a list")
        if len(entries) > max_length:
            raise self.error(name, f"has {len(entries)} entries; at most {max_length} are allowed")
        for index, entry in enumerate(entries):
            path = f"{self._member_path(name)}[{index}]"
            if not isinstance(entry, dict):
                raise InvalidInput(f"{path} must be an object.", argument=path)
            yield ObjectReader(entry, f"{path}.")

    def texts_or_numbers(self, name: str, *, max_length: int) -> list[str]:
        """Return a list of strings, empty if it is missing; whole numbers become their digits."""
        entries = self._get_typed(list, name, "a list") or []
        texts = [str(entry) if _is_whole_number(entry) else entry for entry in entries]
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise self.error(name, "must be a list of strings")
            validate_text(text, f"{self._member_path(name)}[{index}]", max_length=max_length)
        return texts

    def json_list(self, name: str) -> Sequence[object]:
        value = self._get_typed(list, name, "a list")
        check_json(value, self._member_path(name))
        return value or []

    def mapping(self, name: str) -> Mapping[str, object] | None:
        """Return an object with unchecked members."""
        return self._get_typed(dict, name, "an object")

    def json_object(self, name: str) -> Mapping[str, object]:
        value = self.mapping(name)
        check_json(value, self._member_path(name))
        return value or {}

    def error(self, name: str, problem: str) -> InvalidInput:
        """Return the error of a member, as a sentence that starts with its path."""
        return InvalidInput(
            f"{self._member_path(name)} {problem}.", argument=self._member_path(name)
        )

    def _parse(self, name: str, parse: Callable[[str, str], T]) -> T | None:
        """Parse a string with its path; None for an empty one."""
        value = self.string(name)
        return parse(value, self._member_path(name)) if value else None

    def _get_typed(self, expected_type: type[T], name: str, expected: str) -> T | None:
        value = self.members.get(name)
        if value is None or (isinstance(value, expected_type) and not isinstance(value, bool)):
            return value
        raise self.error(name, f"must be {expected}")

    def _member_path(self, name: str) -> str:
        return f"{self.path}{name}"


def _is_whole_number(value: object) -> TypeGuard[int]:
    """Return whether a value is an int but no bool, which is an int in Python."""
    return isinstance(value, int) and not isinstance(value, bool)


def _nearest(value: str, choices: Collection[str]) -> str:
    """Return the end of a sentence that names the choice nearest to a value; empty if none is similar."""
    nearest = closest_name(value, choices)
    return "" if nearest is None else f"; the nearest is {nearest}"
