"""Reasons why an account of the AT Protocol is not active on the server that is asked for it.

https://atproto.com/specs/account has the statuses.
"""

from collections.abc import Mapping
from typing import Any

from app.domain.destinations import ErrorCategory
from app.platforms.bluesky.errors import (
    DEACTIVATION_MESSAGE,
    REPO_DEACTIVATED,
    REPO_SUSPENDED,
    REPO_TAKENDOWN,
    SUSPENSION_MESSAGE,
    TAKEDOWN_MESSAGE,
)
from app.platforms.bluesky.xrpc import XrpcClient
from app.platforms.protocol import NotPublished, PlatformCallError

_REASONS = {
    "takendown": ("ACCOUNT_TAKEN_DOWN", TAKEDOWN_MESSAGE),
    "suspended": ("ACCOUNT_SUSPENDED", SUSPENSION_MESSAGE),
    "deactivated": ("ACCOUNT_DEACTIVATED", DEACTIVATION_MESSAGE),
    "deleted": ("ACCOUNT_DELETED", "The account was deleted. Connect another account."),
}
"""Codes and sentences by status."""

_OTHER_REASON = ("ACCOUNT_INACTIVE", "The account is not active. Ask the operator of its server.")

_INACTIVE_REPOSITORY = {REPO_DEACTIVATED, REPO_SUSPENDED, REPO_TAKENDOWN}


async def inactive_account_error(
    xrpc: XrpcClient, account: Mapping[str, Any], server: str
) -> NotPublished:
    """Return the error of an account that a server describes as not active.

    `account` is the answer of a method that describes a session.
    """
    new_server = pds_of_answer(account)
    if (
        isinstance(new_server, str)
        and new_server.rstrip("/") != server.rstrip("/")
        and await _is_active(xrpc, new_server, str(account.get("did")))
    ):
        return NotPublished(
            ErrorCategory.AUTH,
            "ACCOUNT_MOVED",
            f"The account has moved to the server {new_server}. Create an app password there, and connect the"
            " account again with it and the URL of this server.",
        )
    code, message = _REASONS.get(str(account.get("status")), _OTHER_REASON)
    return NotPublished(ErrorCategory.AUTH, code, message)


async def explain_refused_login(
    xrpc: XrpcClient, server: str, identifier: str, refused: NotPublished
) -> NotPublished:
    """Return the reason of a refused login, if the server states that the account is not active.

    A server refuses the app password of an account that is taken down like a wrong one.
    """
    try:
        await xrpc.call(server, "com.atproto.repo.describeRepo", parameters={"repo": identifier})
    except NotPublished as error:
        return error if error.code in _INACTIVE_REPOSITORY else refused
    except PlatformCallError:
        return refused
    return refused


def pds_of_answer(answer: Mapping[str, Any]) -> object:
    """Return the URL of the account's server in its DID document; None if the answer has none."""
    document = answer.get("didDoc")
    services = document.get("service") if isinstance(document, Mapping) else None
    return next(
        (
            service.get("serviceEndpoint")
            for service in (services if isinstance(services, list) else ())
            if isinstance(service, Mapping) and str(service.get("id")).endswith("#atproto_pds")
        ),
        None,
    )


async def _is_active(xrpc: XrpcClient, server: str, did: str) -> bool:
    """Return whether a server states that an account is active on it."""
    try:
        status = await xrpc.call(server, "com.atproto.sync.getRepoStatus", parameters={"did": did})
    except PlatformCallError:
        return False
    return status.get("active") is True
