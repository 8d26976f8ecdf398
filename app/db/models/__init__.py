"""Tables of the database, as ORM classes without relationships.

The primary key of every table starts with the workspace id, and so do foreign keys: a reference to
another workspace cannot be stored. Exceptions are `workspace` itself, and the tables of the installation:
`deployment`, which has one row, `worker_key`, `live_worker` and `server_breaker`.

The indexes of a table are created in the order in which they are listed, by which SQLite's planner chooses
among equal plans. Databases have been created in this order, so a new index is added at the end.
"""

from app.db.models.attempts import ATTEMPT_JOIN, Attempt, DuplicateCheck, PublishEvidence
from app.db.models.base import Base
from app.db.models.circuit_breakers import AccountBreaker, LiveWorker, ServerBreaker
from app.db.models.credentials import AccountCredentials, DestinationCheckpoint, WorkerKey
from app.db.models.destinations import ACCOUNT_JOIN, POST_JOIN, Destination
from app.db.models.events import Event
from app.db.models.media_checks import MediaCheck, MediaCheckUsage
from app.db.models.posts import Post
from app.db.models.webhooks import Webhook, WebhookDelivery, WebhookDeliveryAttempt
from app.db.models.workspaces import (
    Account,
    AccountPause,
    ApiKey,
    Deployment,
    IdempotencyKey,
    Session,
    Workspace,
)

__all__ = [
    "ACCOUNT_JOIN",
    "ATTEMPT_JOIN",
    "POST_JOIN",
    "Account",
    "AccountBreaker",
    "AccountCredentials",
    "AccountPause",
    "ApiKey",
    "Attempt",
    "Base",
    "Deployment",
    "Destination",
    "DestinationCheckpoint",
    "DuplicateCheck",
    "Event",
    "IdempotencyKey",
    "LiveWorker",
    "MediaCheck",
    "MediaCheckUsage",
    "Post",
    "PublishEvidence",
    "ServerBreaker",
    "Session",
    "Webhook",
    "WebhookDelivery",
    "WebhookDeliveryAttempt",
    "WorkerKey",
    "Workspace",
]
