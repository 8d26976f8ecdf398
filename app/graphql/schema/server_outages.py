"""Query field `serverOutages`: servers that do not answer, with the accounts that wait for them."""

from datetime import datetime

import strawberry
from strawberry import field

from app.services.outages import WaitingAccounts


@strawberry.type(
    name="ServerOutage",
    description="Server that does not answer, so that nothing is published on some accounts but one post at a"
    " time, to find out whether it answers again.",
)
class ServerOutageDetails:
    host: str | None = field(
        description="Name of the server, with its port unless it is the default; null for a publisher of your"
        " own."
    )
    platform: str = field(description="Platform of the accounts.")
    since: datetime = field(description="UTC time of the first call without an answer.")
    next_try_at: datetime = field(description="UTC time at which the server is called again.")
    account_ids: list[int] = field(description="Numbers of the accounts whose posts wait.")
    sentence: str = field(description="What happened and what happens next, as English sentences.")


def to_server_outage(waiting: WaitingAccounts) -> ServerOutageDetails:
    return ServerOutageDetails(
        host=waiting.outage.host,
        platform=waiting.platform,
        since=waiting.outage.since,
        next_try_at=waiting.outage.next_probe_at,
        account_ids=[*waiting.account_ids],
        sentence=waiting.outage.sentence_with_next_probe,
    )
