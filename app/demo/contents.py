"""Published posts that show what a post can carry: text per platform, media, lengths, scripts."""

from collections.abc import Iterator
from datetime import timedelta

from app.demo.accounts import FACEBOOK, INSTAGRAM, LINKEDIN, PINTEREST, THREADS, X
from app.demo.courses import Course
from app.demo.phrases import text_of_length
from app.demo.posts import DemoPost, medium
from app.demo.scene import Scene
from app.demo.tries import draw_uuid
from app.domain.ids import AccountId

X_LIMIT = 280
THREADS_LIMIT = 500
INSTAGRAM_LIMIT = 2200
LINKEDIN_LIMIT = 3000


def posts_with_special_contents(scene: Scene) -> Iterator[DemoPost]:
    yield from _text_per_platform(scene)
    yield from _media(scene)
    yield _long_texts(scene)
    yield from _scripts(scene)
    yield _reference(scene)


def _text_per_platform(scene: Scene) -> Iterator[DemoPost]:
    ago = timedelta(hours=70)
    yield DemoPost(
        content="Demo: one text for all, and a text of its own for two platforms",
        courses=_published(scene, ago, FACEBOOK, X, LINKEDIN),
        created_at=scene.now - ago,
        submitted_now=True,
        platform_content={
            "x": _text("Demo: the short text for X", "text"),
            "linkedin": _text("Demo: the thorough text for LinkedIn, with a question?", "text"),
        },
    )
    ago = timedelta(hours=69)
    yield DemoPost(
        content="",
        courses=_published(scene, ago, THREADS, PINTEREST),
        created_at=scene.now - ago,
        submitted_now=True,
        platform_content={
            "threads": _text("Demo: no common text, this one is for Threads", "text"),
            "pinterest": _text("Demo: no common text, this one is for Pinterest", "pin"),
        },
    )


def _media(scene: Scene) -> Iterator[DemoPost]:
    ago = timedelta(hours=68)
    pictures = tuple(medium(draw_uuid(scene.rng), "image") for _ in range(3))
    yield DemoPost(
        content="Demo: three pictures",
        courses=_published(scene, ago, INSTAGRAM, PINTEREST),
        created_at=scene.now - ago,
        submitted_now=True,
        media=pictures,
    )
    ago = timedelta(hours=67)
    yield DemoPost(
        content="Demo: a picture and a video",
        courses=_published(scene, ago, INSTAGRAM, FACEBOOK),
        created_at=scene.now - ago,
        submitted_now=True,
        media=(pictures[0], medium(draw_uuid(scene.rng), "video")),
    )


def _long_texts(scene: Scene) -> DemoPost:
    ago = timedelta(hours=66)
    opening = "Demo: a text as long as {} allows. "
    return DemoPost(
        content=text_of_length(LINKEDIN_LIMIT, opening.format("LinkedIn")),
        courses=_published(scene, ago, LINKEDIN, X, THREADS, INSTAGRAM),
        created_at=scene.now - ago,
        submitted_now=True,
        platform_content={
            "x": _text(text_of_length(X_LIMIT, opening.format("X")), "text"),
            "threads": _text(text_of_length(THREADS_LIMIT, opening.format("Threads")), "text"),
            "instagram": _text(
                text_of_length(INSTAGRAM_LIMIT, opening.format("Instagram")), "feed"
            ),
        },
    )


def _scripts(scene: Scene) -> Iterator[DemoPost]:
    for hours, content in (
        (65, "Demo: 日本語の投稿です。今週の新作をご紹介します 🌸"),
        (64, "Demo: منشور بالعربية، من اليمين إلى اليسار"),
        (63, "Demo: Ο ΣΊΣΥΦΟΣ και η Straße im Café, ещё и по-русски"),
        (62, "Demo: हिन्दी में एक पोस्ट 👩🏽‍💻👨‍👩‍👧‍👦"),
    ):
        ago = timedelta(hours=hours)
        yield DemoPost(
            content=content,
            courses=_published(scene, ago, FACEBOOK, X),
            created_at=scene.now - ago,
            submitted_now=True,
        )


def _reference(scene: Scene) -> DemoPost:
    ago = timedelta(hours=61)
    return DemoPost(
        content="Demo: found again by a client's own reference",
        courses=_published(scene, ago, X),
        created_at=scene.now - ago,
        submitted_now=True,
        reference="spring-campaign/0042",
    )


def _published(scene: Scene, ago: timedelta, *accounts: AccountId) -> dict[AccountId, Course]:
    return {account: scene.published(account, scene.now - ago) for account in accounts}


def _text(content: str, content_type: str) -> dict[str, object]:
    return {"content": content, "contentType": content_type, "settings": {}}
