"""Steps of a publisher for the board's tests that leave a post between two states."""

from typing import Any
from uuid import uuid4

from tests.web.publisher import Publisher


def start(publisher: Publisher) -> str:
    """Claim the only due destination, start its attempt, and return the lease token."""
    (claim,) = publisher.execute(
        "mutation { claimDestinations(input: {}) { claims { leaseToken } } }"
    )["claims"]
    token: str = claim["leaseToken"]
    publisher.execute(
        "mutation($token: String!) { startAttempt(input: {leaseToken: $token}) { attempt } }",
        token=token,
    )
    return token


def report_transient_failure(publisher: Publisher, token: str, message: str) -> None:
    """Report a failure that is retried automatically."""
    publisher.execute(
        "mutation($token: String!, $message: String!) { reportFailed(input: {leaseToken: $token,"
        " category: TRANSIENT, message: $message}) { willRetry } }",
        token=token,
        message=message,
    )


def claim_many(publisher: Publisher, account_id: int, count: int) -> None:
    """Create posts on an account of Threads, and claim them for longer than a test."""
    for _ in range(count):
        publisher.create_post(account_id, "One of many")
    publisher.execute(
        "mutation { claimDestinations(input: {limit: 100, leaseSeconds: 600,"
        ' platforms: ["threads"]}) { claims { attempts } } }'
    )


def lose(
    publisher: Publisher, account_id: int, content: str, *, message: str = "No answer."
) -> str:
    """Create a post whose outcome is unknown; returns the id of the destination."""
    post_id = publisher.create_post(account_id, content)
    return lose_post(publisher, post_id, account_id, message=message)


def lose_post(
    publisher: Publisher, post_id: str, account_id: int, *, message: str = "No answer."
) -> str:
    """Record that the outcome of a queued post is unknown; returns the id of the destination."""
    publisher.execute(
        "mutation($post: UUID!, $account: Int!, $key: String!, $message: String!) { recordResult("
        "input: {postId: $post, accountId: $account, attemptKey: $key, outcome: UNKNOWN,"
        ' message: $message, worker: "worker-7"}) { attempts } }',
        post=post_id,
        account=account_id,
        key=uuid4().hex,
        message=message,
    )
    post = publisher.execute(
        "query($id: UUID!) { post(postId: $id) { destinations { destinationId } } }", id=post_id
    )
    destination_id: str = post["destinations"][0]["destinationId"]
    return destination_id


def reconcile(publisher: Publisher, destination_id: str, url: str) -> None:
    """Settle an unknown outcome as published."""
    publisher.execute(
        "mutation($id: UUID!, $url: String!) { reconcileDestination(input: {destinationId: $id,"
        " finding: PUBLISHED, platformPostUrl: $url}) { destination { outcome } } }",
        id=destination_id,
        url=url,
    )


def state_of(publisher: Publisher, destination_id: str) -> dict[str, Any]:
    """Return what the API says about a destination."""
    page = publisher.execute(
        "query($id: [UUID!]!) { destinations(filter: {destinationId: $id}) { nodes"
        " { status outcome errorCode platformPostUrl platformPostId } } }",
        id=[destination_id],
    )
    state: dict[str, Any] = page["nodes"][0]
    return state


def persons_of(publisher: Publisher, operation: str) -> list[str | None]:
    """Return who made the changes of destinations by an operation, oldest first."""
    page = publisher.execute(
        "{ changes(types: [DESTINATION_CHANGED], first: 100) { nodes { operation actor { person } } } }"
    )
    return [node["actor"]["person"] for node in page["nodes"] if node["operation"] == operation]
