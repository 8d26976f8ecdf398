"""What a caller would rather have, as headers of the Accept family tell it (RFC 9110, 12.4.2)."""

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache


@lru_cache(maxsize=32)
def parse_accept(header: str) -> Mapping[str, float]:
    """What the header names, in lower case, with its weights; what is not understood is left out."""
    weights: dict[str, float] = {}
    for item in header.split(","):
        choice, parameters = parse_parameters(item)
        with suppress(ValueError):
            weights[choice] = float(parameters.get("q", "1"))
    return weights


def parse_parameters(text: str) -> tuple[str, dict[str, str]]:
    """`text/html; charset="utf-8"` as its name, in lower case, and its parameters."""
    name, *parameters = (part.strip() for part in text.split(";"))
    pairs = (parameter.partition("=") for parameter in parameters)
    return name.lower(), {key.lower(): value.strip('"') for key, _, value in pairs}
