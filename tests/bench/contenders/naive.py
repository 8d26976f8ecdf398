"""Ordinary Strawberry server with the ORM, DataLoaders and Strawberry's own view.

It shares only the tables and the scalars with the post-results server.
"""

import os
from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import strawberry
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.schema.config import StrawberryConfig

from app.db import models
from app.graphql.schema.scalars import SCALARS
from tests.bench.contenders.minimal_asgi import wrap_data
from tests.bench.seeding import WORKSPACE_ID

Sessions = async_sessionmaker[AsyncSession]


@strawberry.enum
class PostStatus(Enum):
    DRAFT = "draft"
    SCHEDULED = "scheduled"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    PARTIALLY_FAILED = "partially_failed"
    FAILED = "failed"


@strawberry.enum
class DestinationStatus(Enum):
    QUEUED = "queued"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    FAILED = "failed"


@strawberry.type
class Account:
    account_id: int
    platform: str
    account_name: str | None


@strawberry.type
class Destination:
    destination_id: UUID
    account_id: int
    platform: str
    status: DestinationStatus
    published_at: datetime | None
    platform_post_id: str | None
    platform_post_url: str | None
    error: str | None
    attempts: int
    next_retry_at: datetime | None

    @strawberry.field
    async def account(self, info: strawberry.Info) -> Account:
        row = await info.context["accounts"].load(self.account_id)
        return Account(account_id=row.id, platform=row.platform, account_name=row.account_name)

    @strawberry.field
    async def account_name(self, info: strawberry.Info) -> str | None:
        row = await info.context["accounts"].load(self.account_id)
        return None if row is None else str(row.account_name)


@strawberry.type
class Post:
    post_id: UUID
    content: str
    status: PostStatus
    scheduled_for: datetime | None
    timezone: str | None
    created_at: datetime
    updated_at: datetime

    @strawberry.field
    async def destinations(self, info: strawberry.Info) -> list[Destination]:
        rows = await info.context["destinations"].load(self.post_id)
        return [
            Destination(
                destination_id=row.id,
                account_id=row.account_id,
                platform=row.platform,
                status=DestinationStatus(row.status),
                published_at=row.published_at,
                platform_post_id=row.platform_post_id,
                platform_post_url=row.platform_post_url,
                error=row.error,
                attempts=row.attempts,
                next_retry_at=row.next_retry_at,
            )
            for row in rows
        ]


def _post(row: models.Post) -> Post:
    return Post(
        post_id=row.id,
        content=row.content,
        status=PostStatus(row.status),
        scheduled_for=row.scheduled_for,
        timezone=row.timezone,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


@strawberry.type
class Posts:
    nodes: list[Post]


_NOT_DELETED = (models.Post.workspace_id == WORKSPACE_ID, models.Post.deleted_at.is_(None))


@strawberry.type
class Query:
    @strawberry.field
    async def post(self, info: strawberry.Info, post_id: UUID) -> Post | None:
        async with info.context["sessions"]() as session:
            row = await session.scalar(
                select(models.Post).where(*_NOT_DELETED, models.Post.id == post_id)
            )
        return None if row is None else _post(row)

    @strawberry.field
    async def posts(self, info: strawberry.Info, first: int = 20) -> Posts:
        newest_first = models.Post.created_at.desc(), models.Post.id.desc()
        async with info.context["sessions"]() as session:
            rows = await session.scalars(
                select(models.Post).where(*_NOT_DELETED).order_by(*newest_first).limit(first)
            )
            return Posts(nodes=[_post(row) for row in rows])


schema = strawberry.Schema(Query, config=StrawberryConfig(scalar_map=SCALARS))


def _context(sessions: Sessions) -> dict[str, Any]:
    async def destinations(post_ids: list[UUID]) -> Sequence[list[models.Destination]]:
        table = models.Destination
        by_post: dict[UUID, list[models.Destination]] = {post_id: [] for post_id in post_ids}
        async with sessions() as session:
            for row in await session.scalars(
                select(table)
                .where(table.workspace_id == WORKSPACE_ID, table.post_id.in_(post_ids))
                .order_by(table.post_id, table.position, table.id)
            ):
                by_post[row.post_id].append(row)
        return list(by_post.values())

    async def accounts(ids: list[int]) -> Sequence[models.Account | None]:
        table = models.Account
        async with sessions() as session:
            rows = await session.scalars(
                select(table).where(table.workspace_id == WORKSPACE_ID, table.id.in_(ids))
            )
            by_id = {row.id: row for row in rows}
        return [by_id.get(account_id) for account_id in ids]

    return {
        "sessions": sessions,
        "destinations": DataLoader(destinations),
        "accounts": DataLoader(accounts),
    }


_RESULTS_QUERY = """
query($id: UUID!) {
  post(postId: $id) {
    post_id: postId
    post_status: status
    results: destinations {
      account_id: accountId
      account_name: accountName
      platform
      status
      published_at: publishedAt
      platform_post_id: platformPostId
      platform_post_url: platformPostUrl
      error
      attempts
      next_retry_at: nextRetryAt
      id: destinationId
      social_account_id: accountId
      last_error: error
    }
  }
}
"""


def make_naive_app(database_url: str) -> Starlette:
    sessions = async_sessionmaker(create_async_engine(database_url), expire_on_commit=False)

    class View(GraphQL[Any, Any]):
        async def get_context(
            self, request: Request | WebSocket, response: Response | WebSocket
        ) -> Any:
            return _context(sessions)

    async def results(request: Request) -> JSONResponse:
        executed = await schema.execute(
            _RESULTS_QUERY, {"id": request.path_params["post_id"]}, _context(sessions)
        )
        assert executed.data is not None, executed.errors
        post = executed.data["post"]
        for result in post["results"]:
            result["status"] = result["status"].lower()
        return JSONResponse(wrap_data({**post, "post_status": post["post_status"].lower()}))

    return Starlette(
        routes=[Route("/graphql", View(schema)), Route("/v1/posts/{post_id}/results", results)]
    )


if url := os.environ.get("DATABASE_URL"):
    app = make_naive_app(url)
