"""Credentials of accounts on Meta's platforms, whose access tokens expire after 60 days."""

from datetime import datetime
from typing import Annotated

import msgspec

from app.platforms.protocol import TOKEN_PATTERN, CredentialValues, credentials_error


class MetaCredentials(msgspec.Struct, frozen=True, rename="camel"):
    """Credentials of an account, in the form in which they are stored."""

    user_id: Annotated[str, msgspec.Meta(pattern=r"^[0-9]+\Z")]
    access_token: Annotated[str, msgspec.Meta(pattern=TOKEN_PATTERN)]
    """Long-lived token of the user."""
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    """Time at which the token expires; a token without it is not renewed."""

    def __repr__(self) -> str:
        return f"<credentials of {self.user_id}>"


def parse_meta_credentials(values: CredentialValues) -> MetaCredentials:
    """Return the credentials of an account; raises NotPublished if they are invalid."""
    try:
        return msgspec.convert(values, MetaCredentials)
    except msgspec.ValidationError:
        raise credentials_error(
            "The credentials of the account must have the strings userId, a number, and accessToken, and may"
            " have the time expiresAt, such as 2026-04-15T14:30:05Z. Connect the account again.",
        ) from None
