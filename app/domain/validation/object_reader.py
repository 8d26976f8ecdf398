"""The members of a JSON object or TOML table, each read as what it should be or refused by its path."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeGuard, TypeVar
from uuid import UUID

from app.domain.errors import InvalidInput
from app.domain.ids import AccountId, check_account_id, invalid_account_id_error, parse_uuid
from app.domain.times import parse_instant
from app.domain.validation.json_values import check_json
from app.domain.validation.text import check_text, check_url

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

MAX_COUNT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ObjectReader:
    """An object at a path. A member that is missing is as one that is null.

    Every method raises InvalidInput, with the member's path, for what is neither null nor of its kind.
    """

    members: Mapping[str, object]
    path: str = ""

    def has(self, name: str) -> bool:
        return self.members.get(name) is not None

    def string(self, name: str) -> str | None:
        """A text as it is given, an empty one too."""
        return self._get_typed(str, name, "a string")

    def strings(self, name: str) -> list[str] | None:
        entries = self._get_typed(list, name, "a list")
        for index, each in enumerate(entries or ()):
            if not isinstance(each, str):
                raise self.error(f"{name}[{index}]", "must be a string")
        return entries

    def text(self, name: str, *, max_length: int) -> str | None:
        """None for an empty one, which says nothing either."""
        value = self._get_typed(str, name, "a string")
        return check_text(value, self._member_path(name), max_length=max_length) if value else None

    def required_text(self, name: str, *, max_length: int) -> str:
        value = self.text(name, max_length=max_length)
        if value is None:
            raise self.error(name, "is missing")
        return value

    def enum(self, name: str, choices: Mapping[str, E]) -> E | None:
        """What one of the known words means."""
        value = self._get_typed(str, name, "a string")
        if value is not None and value not in choices:
            raise self.error(name, f"must be one of {', '.join(choices)}")
        return None if value is None else choices[value]

    def text_or_number(self, name: str, *, max_length: int) -> str | None:
        """A text, also where a whole number stands for it."""
        value = self.members.get(name)
        if _is_whole_number(value):
            return check_text(str(value), self._member_path(name), max_length=max_length)
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
        value = self._get_typed(str, name, "a string")
        return check_url(value, self._member_path(name)) if value else None

    def instant(self, name: str) -> datetime | None:
        value = self._get_typed(str, name, "a string")
        return parse_instant(value, self._member_path(name)) if value else None

    def count(self, name: str) -> int:
        """A whole number, 0 where there is none."""
        return self.whole_number(name, 0, MAX_COUNT) or 0

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
        return check_account_id(value, self._member_path(name))

    def account_ids(self, name: str) -> list[AccountId] | None:
        entries = self._get_typed(list, name, "a list")
        if entries is None:
            return None
        listed = ObjectReader(
            {f"{name}[{index}]": each for index, each in enumerate(entries)}, self.path
        )
        return [listed.account_id(each) for each in listed.members]

    def uuid(self, name: str) -> UUID | None:
        value = self._get_typed(str, name, "a string")
        return parse_uuid(value, self._member_path(name)) if value else None

    def nested_object(self, name: str) -> "ObjectReader":
        """An object, without members where there is none."""
        value = self._get_typed(dict, name, "a table") or {}
        return ObjectReader(value, f"{self._member_path(name)}.")

    def forbid_unknown(self, allowed: Collection[str]) -> None:
        """Refuse a member that has none of the known names."""
        for name in self.members:
            if name not in allowed:
                raise self.error(name, f"is unknown; there is {', '.join(allowed)}")

    def objects(self, name: str, *, max_length: int) -> Iterator["ObjectReader"]:
        """The entries of a list of objects; the list must be there."""
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
        """A list, empty where there is none, whose whole numbers become texts."""
        entries = self._get_typed(list, name, "a list") or []
        texts = [str(each) if _is_whole_number(each) else each for each in entries]
        for index, each in enumerate(texts):
            if not isinstance(each, str):
                raise self.error(name, "must be a list of strings")
            check_text(each, f"{self._member_path(name)}[{index}]", max_length=max_length)
        return texts

    def json_list(self, name: str) -> Sequence[object]:
        value = self._get_typed(list, name, "a list")
        check_json(value, self._member_path(name))
        return value or []

    def mapping(self, name: str) -> Mapping[str, object] | None:
        """An object as it is given, whatever is in it."""
        return self._get_typed(dict, name, "an object")

    def json_object(self, name: str) -> Mapping[str, object]:
        value = self.mapping(name)
        check_json(value, self._member_path(name))
        return value or {}

    def error(self, name: str, problem: str) -> InvalidInput:
        """The refusal of a member, as a sentence that begins with its path."""
        return InvalidInput(
            f"{self._member_path(name)} {problem}.", argument=self._member_path(name)
        )

    def _get_typed(self, expected_type: type[T], name: str, expected: str) -> T | None:
        value = self.members.get(name)
        if value is None or (isinstance(value, expected_type) and not isinstance(value, bool)):
            return value
        raise self.error(name, f"must be {expected}")

    def _member_path(self, name: str) -> str:
        return f"{self.path}{name}"


def _is_whole_number(value: object) -> TypeGuard[int]:
    """To Python, true and false are too."""
    return isinstance(value, int) and not isinstance(value, bool)
