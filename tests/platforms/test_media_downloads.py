"""Loading of media: images by URL and in `data:` URLs, and what is refused."""

import asyncio
import base64
import struct
import zlib
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from uuid import UUID

import httpcore2
import pytest

from app.domain.accounts import AccountPublisher
from app.domain.destinations import ErrorCategory
from app.domain.ids import DestinationId
from app.domain.outbound_rules import OutboundRules
from app.outbound.client import OutboundClient
from app.outbound.network import dial_tcp
from app.platforms import make_adapters
from app.platforms.media import Media
from app.platforms.media_checks import check_not_empty
from app.platforms.media_downloads import download, load_media
from app.platforms.media_url_checks import LoadableMedia, check_urls
from app.platforms.protocol import NotPublished
from tests.factories import NOW
from tests.outbound.local_servers import (
    LOCAL_RULES,
    ConnectionHandler,
    local_server,
    never_respond,
    read_request,
    resolving,
    responding,
)
from tests.outbound.test_network import AUTHORITY, client_context, server_context
from tests.platforms.publish_requests import MemoryCredentials, publish_problem, publish_request

MAX_BYTES = 1_000
MAX_MEDIA = 4
MAX_PART = 65_536
"""Bytes that the HTTP library reads at a time."""


def png(width: int, height: int) -> bytes:
    """A PNG without pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")


IMAGE = png(320, 200)
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)
GIF = b"GIF89a" + struct.pack("<HH", 7, 5) + bytes(10)
WEBP = b"RIFF\x04\0\0\0WEBP"


def answer(content: bytes, content_type: str | None = None, status: int = 200) -> bytes:
    headers = "" if content_type is None else f"Content-Type: {content_type}\r\n"
    head = f"HTTP/1.1 {status} Answer\r\n{headers}Content-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def redirect(location: str, status: int = 302, body: bytes = b"") -> bytes:
    head = (
        f"HTTP/1.1 {status} Answer\r\nLocation: {location}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def data_url(content: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


async def load(*media: object, handle: ConnectionHandler | None = None) -> list[Media]:
    """Load media, in whose URLs SERVER is a local server."""
    async with (
        local_server(handle or responding()) as server,
        OutboundClient(LOCAL_RULES) as client,
    ):
        items = [
            item | {"url": item["url"].replace("SERVER", server.url(""))}
            if isinstance(item, dict) and isinstance(item.get("url"), str)
            else item
            for item in media
        ]
        request = publish_request(media_ids=[], media=items)
        return list(await load_media(client, request, max_bytes=MAX_BYTES, max_media=MAX_MEDIA))


async def failure(
    *media: object, handle: ConnectionHandler | None = None
) -> tuple[ErrorCategory, str]:
    with pytest.raises(NotPublished) as caught:
        await load(*media, handle=handle)
    assert caught.value.not_sent is (caught.value.category is ErrorCategory.TRANSIENT)
    return caught.value.category, caught.value.message


async def test_images_are_loaded_in_order_with_type_size_and_description() -> None:
    handle = responding(answer(IMAGE, "image/png"))
    loaded = await load(
        {"url": "SERVER/1.png", "alt": "A sunset"},
        {"url": data_url(GIF, "image/gif")},
        handle=handle,
    )
    assert loaded == [
        Media(content=IMAGE, content_type="image/png", alt="A sunset", width=320, height=200),
        Media(content=GIF, content_type="image/gif", alt="", width=7, height=5),
    ]


@pytest.mark.parametrize(
    "declared",
    [None, "", "image/jpg", "image/png", "Image/PNG; charset=binary", "application/octet-stream"],
)
@pytest.mark.parametrize(
    ("content", "content_type"),
    [(JPEG, "image/jpeg"), (IMAGE, "image/png"), (GIF, "image/gif"), (WEBP, "image/webp")],
)
async def test_type_is_that_of_the_bytes(
    content: bytes, content_type: str, declared: str | None
) -> None:
    media = await load(
        {"url": "SERVER/1"},
        {"url": data_url(content, declared or "")},
        handle=responding(answer(content, declared)),
    )
    assert [(each.content, each.content_type) for each in media] == [(content, content_type)] * 2


@pytest.mark.parametrize(("content", "content_type"), [(JPEG, "image/jpeg"), (WEBP, "image/webp")])
async def test_image_whose_size_is_unknown_is_loaded(content: bytes, content_type: str) -> None:
    (media,) = await load({"url": data_url(content, content_type)})
    assert (media.content_type, media.width, media.height) == (content_type, None, None)


async def test_data_url_may_be_percent_encoded_or_without_a_type() -> None:
    encoded = "".join(f"%{byte:02x}" for byte in IMAGE)
    for url in (f"data:,{encoded}", f"DATA:image/png,{encoded}", data_url(IMAGE, "")):
        assert [media.content for media in await load({"url": url})] == [IMAGE]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("https://example.com/1.png", "needs the URL of an image"),
        ({}, "needs the URL of an image"),
        ({"url": 7}, "needs the URL of an image"),
        (
            {"url": "data:image/png;base64"},
            "is not a valid data: URL, such as data:image/png;base64,….",
        ),
        ({"url": "data:image/png;base64,%%"}, "is not valid base64."),
        ({"url": "data:text/plain,hello"}, "is not a JPEG, PNG, GIF or WebP image."),
        ({"url": data_url(b"<svg/>", "image/svg+xml")}, "is not a JPEG, PNG, GIF or WebP image."),
        ({"url": data_url(b"<html>")}, "is not a JPEG, PNG, GIF or WebP image."),
        ({"url": data_url(b"")}, "is not a JPEG, PNG, GIF or WebP image."),
        ({"url": data_url(IMAGE + bytes(MAX_BYTES))}, "has more than 1,000 bytes."),
        ({"url": "https://10.0.0.1/1.png"}, "has an address that is not public."),
        ({"url": "file:///etc/passwd"}, "cannot be loaded."),
    ],
)
async def test_unusable_media_are_rejected_by_name(item: object, message: str) -> None:
    category, text = await failure({"url": data_url(IMAGE)}, item)
    assert category is ErrorCategory.CONTENT_REJECTED
    assert text.startswith("media[1] ")
    assert message in text


async def test_ids_of_another_service_are_rejected() -> None:
    request = publish_request(media_ids=["m1"], media=[])
    async with OutboundClient(LOCAL_RULES) as client:
        with pytest.raises(NotPublished) as caught:
            await load_media(client, request, max_bytes=1, max_media=1)
    assert caught.value.category is ErrorCategory.CONTENT_REJECTED


async def test_too_many_media_are_rejected_before_a_download() -> None:
    assert len(await load(*[{"url": data_url(IMAGE)}] * MAX_MEDIA)) == MAX_MEDIA
    # The URL would fail with another error.
    assert await failure(*[{"url": "http://127.0.0.1:1/1.png"}] * (MAX_MEDIA + 1)) == (
        ErrorCategory.CONTENT_REJECTED,
        "The post has 5 media; this platform allows 4. Remove 1 of them.",
    )


@pytest.mark.parametrize(
    ("publisher", "max_media"), [(AccountPublisher.BLUESKY, 4), (AccountPublisher.MASTODON, 16)]
)
async def test_platforms_limit_the_media_of_a_post(
    publisher: AccountPublisher, max_media: int
) -> None:
    request = publish_request(
        credentials=MemoryCredentials({"instance": "http://127.0.0.1:1", "accessToken": "t"}),
        media_ids=[],
        media=[{"url": data_url(IMAGE)}] * (max_media + 1),
    )
    async with OutboundClient(LOCAL_RULES) as client:
        adapters = make_adapters(
            sandbox_file=None, client=client, now=lambda: NOW, sleep=asyncio.sleep
        )
        with pytest.raises(NotPublished) as caught:
            await adapters[publisher].publish(request)
    assert caught.value.message == (
        f"The post has {max_media + 1} media; this platform allows {max_media}. Remove 1 of them."
    )


async def test_size_is_searched_in_the_first_bytes_only() -> None:
    marker = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 200, 320) + bytes(12)
    segment = b"\xff\xe1\xff\xff" + bytes(0xFFFD)
    near, far = (b"\xff\xd8" + segment * number + marker for number in (3, 4))
    async with OutboundClient(LOCAL_RULES) as client:
        request = publish_request(
            media_ids=[],
            media=[{"url": data_url(content, "image/jpeg")} for content in (near, far)],
        )
        loaded = await load_media(client, request, max_bytes=1_000_000, max_media=2)
    assert [media.width for media in loaded] == [320, None]


@pytest.mark.parametrize(
    ("status", "category", "message"),
    [
        (
            204,
            ErrorCategory.CONTENT_REJECTED,
            "media[0] was not loaded: its server answered 204. Use a URL at which everyone can load the"
            " image.",
        ),
        (
            404,
            ErrorCategory.CONTENT_REJECTED,
            "media[0] was not loaded: its server answered 404. Use a URL at which everyone can load the"
            " image.",
        ),
        (408, ErrorCategory.TRANSIENT, "media[0] was not loaded: its server answered 408."),
        (
            300,
            ErrorCategory.CONTENT_REJECTED,
            "media[0] was not loaded: its server answered 300. Use a URL at which everyone can load the"
            " image.",
        ),
        (429, ErrorCategory.TRANSIENT, "media[0] was not loaded: its server answered 429."),
        (503, ErrorCategory.TRANSIENT, "media[0] was not loaded: its server answered 503."),
    ],
)
async def test_status_of_the_server_decides_whether_a_retry_may_help(
    status: int, category: ErrorCategory, message: str
) -> None:
    handle = responding(answer(b"", status=status))
    assert await failure({"url": "SERVER/1.png"}, handle=handle) == (category, message)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_followed(status: int) -> None:
    requests: list[bytes] = []
    handle = responding(redirect("/new.png", status), answer(IMAGE), requests=requests)
    (media,) = await load({"url": "SERVER/old.png"}, handle=handle)
    assert media.content == IMAGE
    host = requests[0].partition(b"Host: ")[2].partition(b"\r\n")[0]
    head = b" HTTP/1.1\r\nHost: " + host + b"\r\nAccept-Encoding: identity\r\n\r\n"
    assert requests == [b"GET /old.png" + head, b"GET /new.png" + head]


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("c.png", b"/a/c.png"),
        ("../c.png?size=1", b"/c.png?size=1"),
        ("?size=1", b"/a/b.png?size=1"),
        ("//SERVER/c.png", b"/c.png"),
        ("HTTP://SERVER", b"/"),
        ("http://SERVER/c.png#top", b"/c.png"),
        ("/a%20b c/ü.png", b"/a%20b%20c/%C3%BC.png"),
    ],
)
async def test_location_is_resolved_against_the_url(location: str, target: bytes) -> None:
    requests: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("sockname")[1]
        first = redirect(location.replace("SERVER", f"127.0.0.1:{port}"))
        await responding(first, answer(IMAGE), requests=requests)(reader, writer)

    await load({"url": "SERVER/a/b.png"}, handle=handle)
    assert [request.split()[1] for request in requests] == [b"/a/b.png", target]


async def test_five_redirects_are_followed_and_no_more() -> None:
    redirects = [redirect(f"/{number}.png") for number in range(6)]
    (media,) = await load({"url": "SERVER/"}, handle=responding(*redirects[:5], answer(IMAGE)))
    assert media.content == IMAGE

    requests: list[bytes] = []
    handle = responding(*redirects, answer(IMAGE), requests=requests)
    assert await failure({"url": "SERVER/"}, handle=handle) == (
        ErrorCategory.CONTENT_REJECTED,
        "media[0] has more than 5 redirects. Use the URL at which they end.",
    )
    assert len(requests) == 6


@pytest.mark.parametrize(
    "response",
    [
        answer(b"", status=302),
        redirect(""),
        redirect("http://[::1/1.png"),
    ],
)
async def test_redirect_without_a_valid_location_is_rejected(response: bytes) -> None:
    assert await failure({"url": "SERVER/1.png"}, handle=responding(response)) == (
        ErrorCategory.CONTENT_REJECTED,
        "media[0] was not loaded: its server answered 302 without a valid Location. Use the URL of the image"
        " itself.",
    )


NOT_PUBLIC = (
    "has an address that is not public. Use a public host, or ask the operator of this server to allow its"
    " network in OUTBOUND_ALLOWED_NETWORKS."
)
OTHER_SCHEME = "url must be a URL that starts with https://."


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://127.0.0.2/1.png", f"127.0.0.2 {NOT_PUBLIC}"),
        ("//127.0.0.2/1.png", f"127.0.0.2 {NOT_PUBLIC}"),
        ("http://[::1]/1.png", f"::1 {NOT_PUBLIC}"),
        ("http://[fd00::1]/1.png", f"fd00::1 {NOT_PUBLIC}"),
        ("https://10.0.0.1/1.png", f"10.0.0.1 {NOT_PUBLIC}"),
        ("http://169.254.169.254/latest/meta-data/", f"169.254.169.254 {NOT_PUBLIC}"),
        ("http://name.example/1.png", f"name.example {NOT_PUBLIC}"),
        ("file:///etc/passwd", OTHER_SCHEME),
        ("ftp://127.0.0.1/1.png", OTHER_SCHEME),
        ("gopher://127.0.0.1/1", OTHER_SCHEME),
        (data_url(IMAGE), OTHER_SCHEME),
        ("http://user:password@127.0.0.1/", "url must not contain a user name or password."),
    ],
)
@pytest.mark.parametrize("hops", [1, 2])
async def test_redirect_is_refused_like_the_url_itself(
    location: str, reason: str, hops: int
) -> None:
    dialled: list[str] = []

    async def dial(address: str, port: int, seconds: float | None) -> httpcore2.AsyncNetworkStream:
        dialled.append(address)
        return await dial_tcp(address, port, seconds)

    rules = OutboundRules(allow_http=True, allowed_networks=(ip_network("127.0.0.1/32"),))
    responses = [redirect("/2.png"), redirect(location)][-hops:]
    async with (
        local_server(responding(*responses)) as server,
        OutboundClient(rules, resolve=resolving("8.8.8.8", "10.0.0.1"), dial=dial) as client,
    ):
        request = publish_request(media_ids=[], media=[{"url": server.url("/1.png")}])
        problem = await publish_problem(load_media(client, request, max_bytes=9, max_media=1))
    assert problem == (
        ErrorCategory.CONTENT_REJECTED,
        "MEDIA_REJECTED",
        f"media[0] redirects to a URL that cannot be loaded. {reason}",
    )
    assert dialled == ["127.0.0.1"]


async def test_redirect_from_https_to_http_needs_the_setting_of_http() -> None:
    certificate = AUTHORITY.issue_cert("127.0.0.1")
    requests: list[bytes] = []
    async with (
        local_server(responding(answer(IMAGE), requests=requests)) as insecure,
        local_server(
            responding(redirect(insecure.url("/1.png"))), server_context(certificate)
        ) as secure,
    ):
        url = f"https://127.0.0.1:{secure.port}/1.png"
        request = publish_request(media_ids=[], media=[{"url": url}])
        async with OutboundClient(LOCAL_RULES, ssl_context=client_context()) as client:
            (media,) = await load_media(client, request, max_bytes=MAX_BYTES, max_media=1)
        assert (media.content, len(requests)) == (IMAGE, 1)
        rules = replace(LOCAL_RULES, allow_http=False)
        async with OutboundClient(rules, ssl_context=client_context()) as client:
            problem = await publish_problem(
                load_media(client, request, max_bytes=MAX_BYTES, max_media=1)
            )
    assert problem == (
        ErrorCategory.CONTENT_REJECTED,
        "MEDIA_REJECTED",
        "media[0] redirects to a URL that cannot be loaded. url must start with https://. The operator of"
        " this server can allow http:// with OUTBOUND_ALLOW_HTTP=yes.",
    )
    assert len(requests) == 1


async def test_failure_after_a_redirect_names_the_redirect() -> None:
    missing = responding(redirect("/2.png"), answer(b"", status=404))
    assert await failure({"url": "SERVER/1.png"}, handle=missing) == (
        ErrorCategory.CONTENT_REJECTED,
        "media[0] redirects to a URL that was not loaded: its server answered 404. Use a URL at which"
        " everyone can load the image.",
    )
    category, message = await failure(
        {"url": "SERVER/1.png"}, handle=responding(redirect("http://127.0.0.1:1/2.png"))
    )
    assert category is ErrorCategory.TRANSIENT
    assert message.startswith(
        "media[0] redirects to a URL that was not loaded. 127.0.0.1 refused the connection"
    )


async def test_redirects_of_an_image_share_its_time_limit() -> None:
    async def redirect_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(6):
            await read_request(reader)
            await asyncio.sleep(0.2)
            writer.write(redirect(f"/{number}.png"))

    async with local_server(redirect_slowly) as server, OutboundClient(LOCAL_RULES) as client:
        request = publish_request(media_ids=[], media=[{"url": server.url("/1.png")}])
        problem = await publish_problem(
            load_media(
                client,
                request,
                max_bytes=1_000,
                max_media=1,
                image_time_limit=timedelta(milliseconds=600),
            )
        )
    assert problem == (
        ErrorCategory.TRANSIENT,
        "MEDIA_NOT_LOADED",
        "media[0] was not loaded within 0.6 s. Use a smaller image, or a faster server.",
    )


async def test_slow_images_are_a_temporary_failure_of_the_post() -> None:
    async with local_server(never_respond) as server, OutboundClient(LOCAL_RULES) as client:
        request = publish_request(media_ids=[], media=[{"url": server.url("/1.png")}] * 2)
        problem = await publish_problem(
            load_media(
                client,
                request,
                max_bytes=1_000,
                max_media=2,
                time_limit=timedelta(milliseconds=50),
            )
        )
    assert problem == (
        ErrorCategory.TRANSIENT,
        "MEDIA_NOT_LOADED",
        "The media were not loaded within 0.05 s. Use smaller images, or a faster server.",
    )


async def test_server_that_cannot_be_reached_is_a_temporary_failure() -> None:
    category, message = await failure({"url": "http://127.0.0.1:1/1.png"})
    assert category is ErrorCategory.TRANSIENT
    assert message.startswith("media[0] was not loaded. 127.0.0.1 refused the connection")


async def test_download_ends_at_the_limit() -> None:
    huge = b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n" + IMAGE + bytes(5_000)
    category, message = await failure({"url": "SERVER/1.png"}, handle=responding(huge))
    assert (category, message) == (
        ErrorCategory.CONTENT_REJECTED,
        "media[0] has more than 1,000 bytes. Make the image smaller.",
    )


BODY = bytes(600)


def broken_off(announced: int) -> bytes:
    """A response that announces more bytes than its body has."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % announced + BODY


@pytest.mark.parametrize(
    ("responses", "hangs", "error"),
    [
        ([answer(BODY)], False, None),
        ([answer(BODY, status=404)], False, "MEDIA_REJECTED"),
        ([answer(BODY, status=503)], False, "MEDIA_NOT_LOADED"),
        ([broken_off(601)], False, "MEDIA_NOT_LOADED"),
        ([broken_off(601)], True, "MEDIA_NOT_LOADED"),
        ([redirect("/2.png", body=BODY), answer(BODY)], False, None),
        ([redirect("/2.png", body=BODY), broken_off(601)], True, "MEDIA_NOT_LOADED"),
        ([redirect("ftp://127.0.0.1", body=BODY)], False, "MEDIA_REJECTED"),
    ],
)
async def test_all_bytes_that_arrive_are_counted(
    responses: list[bytes], hangs: bool, error: str | None
) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await responding(*responses)(reader, writer)
        if hangs:
            await never_respond(reader, writer)

    counts: list[int] = []
    async with local_server(handle) as server, OutboundClient(LOCAL_RULES) as client:
        loading = download(
            client,
            server.url("/1.png"),
            "media[0]",
            MAX_BYTES,
            counts.append,
            time_limit=timedelta(seconds=1) if hangs else timedelta(seconds=30),
        )
        if error is None:
            assert await loading == BODY
        else:
            assert (await publish_problem(loading))[1] == error
    assert sum(counts) == len(BODY) * len(responses)


async def test_bytes_of_a_file_that_is_too_large_are_counted() -> None:
    received: list[int] = []
    huge = responding(broken_off(200_000_000) + bytes(5_000_000))
    async with local_server(huge) as server, OutboundClient(LOCAL_RULES) as client:
        content = await download(client, server.url(), "media[0]", MAX_BYTES, received.append)
    assert len(content) == MAX_BYTES + 1 < sum(received) < MAX_BYTES + 2 + MAX_PART


async def test_bytes_before_the_time_of_a_check_ends_are_counted() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await responding(broken_off(601))(reader, writer)
        await never_respond(reader, writer)

    async with local_server(handle) as server, OutboundClient(LOCAL_RULES) as client:
        media = LoadableMedia(
            {server.url(): "media[0]"}, frozenset({(DestinationId(UUID(int=1)), "mastodon")})
        )
        result = await check_urls(client, media, time_limit=timedelta(seconds=1))
    message = "The media were not loaded within 1 s. Use smaller images, or a faster server."
    assert [error.message for error in result.errors.values()] == [message]
    assert result.byte_count == len(BODY)


def test_post_needs_text_or_media() -> None:
    with pytest.raises(NotPublished) as caught:
        check_not_empty(" \n", [])

    assert (caught.value.category, caught.value.code, caught.value.message) == (
        ErrorCategory.CONTENT_REJECTED,
        "EMPTY_POST",
        "The post has neither text nor media for this platform. Add some.",
    )
    check_not_empty("", [{}])
    check_not_empty("Hi", [])
