"""The REST answer around a post's results, as the Python contenders print it. Finds nothing."""

import secrets
from datetime import UTC, datetime
from typing import Any

from app.domain.times import format_instant


def envelope(data: dict[str, Any]) -> dict[str, Any]:
    meta = {"request_id": secrets.token_hex(4), "timestamp": format_instant(datetime.now(UTC))}
    return {"data": data, "error": None, "meta": meta}
