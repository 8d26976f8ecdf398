"""Tests of errors: their categories, what is certain after them, and that none contains a secret."""

import json
from datetime import timedelta

import pytest

from app.domain.destinations import ErrorCategory
from app.platforms.protocol import NotPublished, OutcomeUnknown
from tests.platforms.meta.adapter_run import (
    CONTAINER,
    PLATFORMS,
    publish_error,
    refusal,
    running_adapter,
)
from tests.platforms.meta.stub_graph import (
    CUT_RESPONSE,
    HTML,
    NO_RESPONSE,
    TOKEN,
    Fault,
    graph_error,
    response,
)
from tests.platforms.publish_requests import refusal_details

AUTH, CONTENT_REJECTED = ErrorCategory.AUTH, ErrorCategory.CONTENT_REJECTED
PERMANENT, TRANSIENT = ErrorCategory.PERMANENT, ErrorCategory.TRANSIENT
RATE_LIMITED = ErrorCategory.RATE_LIMITED

REFUSALS = [
    (190, None, AUTH, "Meta does not accept the access token."),
    (190, 463, AUTH, "Meta does not accept the access token."),
    (102, None, AUTH, "Meta does not accept the access token."),
    (10, None, AUTH, "The access token lacks a permission."),
    (200, None, AUTH, "The access token lacks a permission."),
    (299, None, AUTH, "The access token lacks a permission."),
    (25, 2207050, AUTH, "The account is restricted or inactive."),
    (3, None, PERMANENT, "The app of the access token cannot publish."),
    (4, 2207051, PERMANENT, "Instagram takes the post for spam."),
    (100, 33, PERMANENT, "The account's userId does not exist"),
    (4, None, RATE_LIMITED, "Meta limits the number of requests."),
    (17, None, RATE_LIMITED, "Meta limits the number of requests."),
    (32, None, RATE_LIMITED, "Meta limits the number of requests."),
    (341, None, RATE_LIMITED, "Meta limits the number of requests."),
    (613, None, RATE_LIMITED, "Meta limits the number of requests."),
    (80002, None, RATE_LIMITED, "Meta limits the number of requests."),
    (368, None, RATE_LIMITED, "Meta has blocked the account for some time"),
    (9, 2207042, RATE_LIMITED, "The account has reached its limit of posts by the API."),
    (100, None, CONTENT_REJECTED, "Meta does not accept the post."),
    (100, 2207028, CONTENT_REJECTED, "Meta does not accept the post."),
    (352, 2207026, CONTENT_REJECTED, "Meta does not accept the post."),
    (36000, 2207004, CONTENT_REJECTED, "Meta does not accept the post."),
    (36001, 2207005, CONTENT_REJECTED, "Meta does not accept the post."),
    (36003, 2207009, CONTENT_REJECTED, "Meta does not accept the post."),
    (36004, 2207010, CONTENT_REJECTED, "Meta does not accept the post."),
    (506, None, CONTENT_REJECTED, "The post is the same as the last one"),
    (1609005, None, CONTENT_REJECTED, "Meta cannot load a link in the text."),
    (-2, 2207003, TRANSIENT, "The image could not be loaded from its URL."),
    (-2, 2207020, TRANSIENT, "Meta could not process the image."),
    (-1, 2207001, TRANSIENT, "Meta had a temporary fault."),
    (-1, 2207032, TRANSIENT, "Meta could not process the image."),
    (-1, 2207053, TRANSIENT, "Meta could not process the image."),
    (1, None, TRANSIENT, "Meta had a temporary fault."),
    (2, None, TRANSIENT, "Meta had a temporary fault."),
    (24, 2207006, TRANSIENT, "Meta has not prepared the post yet."),
    (24, 2207008, TRANSIENT, "Meta has not prepared the post yet."),
    (24, 4279009, TRANSIENT, "Meta has not prepared the post yet."),
    (9004, 2207052, TRANSIENT, "The image could not be loaded from its URL."),
    (9007, 2207027, TRANSIENT, "Meta has not prepared the post yet."),
]


@pytest.mark.parametrize(("code", "subcode", "category", "message"), REFUSALS)
@pytest.mark.parametrize("operation", ["create", "publish"])
async def test_refusal_has_category_and_sentence(
    operation: str, code: int, subcode: int | None, category: ErrorCategory, message: str
) -> None:
    answer = graph_error(code, subcode, error_user_msg="Its sentence.")
    async with running_adapter(faults={operation: [Fault(answer)]}) as run:
        error = await refusal(run)

    name = f"GRAPH_{code}" if subcode is None else f"GRAPH_{code}_{subcode}"
    wait = timedelta(hours=1) if subcode == 2207042 else None
    assert refusal_details(error) == (category, name, 400, wait)
    assert error.message.startswith(message)
    assert error.message.endswith("Meta's reason: Its sentence.")
    assert run.stub.posts == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (graph_error(999, is_transient=True), (TRANSIENT, "GRAPH_999", 400, None)),
        (graph_error(100, is_transient=True), (TRANSIENT, "GRAPH_100", 400, None)),
        (graph_error(3, is_transient=True), (TRANSIENT, "GRAPH_3", 400, None)),
        (graph_error(190, is_transient=True), (AUTH, "GRAPH_190", 400, None)),
        (graph_error(100, error_subcode="x"), (CONTENT_REJECTED, "GRAPH_100", 400, None)),
        (graph_error(999, is_transient=False), (CONTENT_REJECTED, "HTTP_400", 400, None)),
        (response(400, {"error": "text"}), (CONTENT_REJECTED, "HTTP_400", 400, None)),
        (response(400, {"error": {"code": "190"}}), (CONTENT_REJECTED, "HTTP_400", 400, None)),
        (response(401), (AUTH, "HTTP_401", 401, None)),
        (response(403), (PERMANENT, "HTTP_403", 403, None)),
        (
            response(429, b"", **{"Retry-After": "60"}),
            (RATE_LIMITED, "HTTP_429", 429, timedelta(minutes=1)),
        ),
        (response(302), (TRANSIENT, "NO_ANSWER", 302, None)),
        (response(404), (TRANSIENT, "NO_ANSWER", 404, None)),
        (response(500), (TRANSIENT, "NO_ANSWER", 500, None)),
        (graph_error(2, status=503), (TRANSIENT, "NO_ANSWER", 503, None)),
        (HTML, (TRANSIENT, "NO_ANSWER", 200, None)),
        (response(200, {"id": None}), (TRANSIENT, "NO_ANSWER", None, None)),
        (response(200, {"id": "../1"}), (TRANSIENT, "NO_ANSWER", None, None)),
        (response(200, b" " * 1024 * 1024 + b"{}"), (TRANSIENT, "NO_ANSWER", 200, None)),
        (NO_RESPONSE, (TRANSIENT, "NO_ANSWER", None, None)),
        (CUT_RESPONSE, (TRANSIENT, "NO_ANSWER", None, None)),
    ],
)
async def test_failure_before_publishing_is_certain(answer: bytes, expected: object) -> None:
    async with running_adapter(faults={"create": [Fault(answer)]}) as run:
        error = await refusal(run)

    assert refusal_details(error) == expected
    assert run.stub.calls_of("POST", run.stub.api.publish) == []


@pytest.mark.parametrize("answer", [response(500), HTML, NO_RESPONSE, response(200, {"id": "1"})])
async def test_unreadable_status_before_publishing_is_certain(answer: bytes) -> None:
    async with running_adapter(faults={"status": [Fault(answer)]}) as run:
        error = await refusal(run)

    assert error.category is TRANSIENT
    assert run.stub.posts == []


@pytest.mark.parametrize("name", PLATFORMS)
@pytest.mark.parametrize(
    ("answer", "http_status"),
    [
        (response(404), 404),
        (response(500), 500),
        (graph_error(2, status=500, is_transient=True), 500),
        (HTML, 200),
        (response(200, {"id": None}), None),
        (response(200, b" " * 1024 * 1024 + b"{}"), 200),
        (NO_RESPONSE, None),
        (CUT_RESPONSE, None),
    ],
)
async def test_outcome_without_answer_to_publishing_is_unknown(
    name: str, answer: bytes, http_status: int | None
) -> None:
    async with running_adapter(name, faults={"publish": [Fault(answer)]}) as run:
        error = await publish_error(run)

    assert isinstance(error, OutcomeUnknown)
    assert error.http_status == http_status


async def test_refused_container_that_was_published_is_found() -> None:
    fault = Fault(graph_error(4, 2207051), is_processed=True)
    async with running_adapter("instagram", faults={"publish": [fault]}) as run:
        publication = await run.adapter.publish(run.request())

    assert publication.platform_post_id == run.stub.posts[0]["id"]
    assert publication.platform_post_url == run.stub.posts[0]["permalink"]


async def test_outcome_of_refused_container_in_progress_is_unknown() -> None:
    async with running_adapter(faults={"publish": [Fault(graph_error(1))]}) as run:
        run.stub.processing = ["FINISHED", "IN_PROGRESS"]
        error = await publish_error(run)

    assert isinstance(error, OutcomeUnknown)
    assert error.message == (
        "Meta had a temporary fault. Meta's reason: Message The post may be published all the same."
    )
    assert error.http_status == 400


@pytest.mark.parametrize(
    ("refused", "status", "is_certain"),
    [
        (graph_error(190), graph_error(190), True),
        (graph_error(4), graph_error(17), True),
        (graph_error(4), graph_error(190), False),
        (graph_error(4), response(500), False),
        (graph_error(190), HTML, False),
        (graph_error(2), graph_error(2), False),
        (graph_error(100), graph_error(100), False),
    ],
)
async def test_refusal_without_readable_status_is_certain_if_reading_is_refused_alike(
    refused: bytes, status: bytes, is_certain: bool
) -> None:
    async with running_adapter(faults={"publish": [Fault(refused)]}) as run:
        first = response(200, {"id": CONTAINER, "status": "FINISHED"})
        run.stub.faults["status"] = [Fault(first), Fault(status)]
        error = await publish_error(run)

    assert isinstance(error, NotPublished) is is_certain
    assert error.http_status == 400


async def test_unreachable_server_has_certainly_published_nothing() -> None:
    async with running_adapter() as run:
        pass
    error = await refusal(run)

    assert refusal_details(error) == (TRANSIENT, "CONNECTION_FAILED", None, None)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "90"}, timedelta(seconds=90)),
        (
            {
                "X-Business-Use-Case-Usage": json.dumps(
                    {
                        "1": [{"type": "a", "estimated_time_to_regain_access": 19}],
                        "2": [{"type": "b", "estimated_time_to_regain_access": 5}],
                    }
                )
            },
            timedelta(minutes=19),
        ),
        ({"X-Business-Use-Case-Usage": '{"1": [{"estimated_time_to_regain_access": 0}]}'}, None),
        ({"X-Business-Use-Case-Usage": '[1, "x"]'}, None),
        ({"X-Business-Use-Case-Usage": "{"}, None),
    ],
)
async def test_wait_of_limit_is_that_of_headers(
    headers: dict[str, str], wait: timedelta | None
) -> None:
    answer = response(400, {"error": {"code": 4, "message": "Limit"}}, **headers)
    async with running_adapter(faults={"create": [Fault(answer)]}) as run:
        error = await refusal(run)

    assert refusal_details(error) == (RATE_LIMITED, "GRAPH_4", 400, wait)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, timedelta(hours=1)),
        ({"Retry-After": "60"}, timedelta(hours=1)),
        ({"Retry-After": "7200"}, timedelta(hours=2)),
    ],
)
@pytest.mark.parametrize("name", PLATFORMS)
async def test_error_of_reached_limit_has_number_of_posts_and_a_long_wait(
    name: str, headers: dict[str, str], wait: timedelta
) -> None:
    quota = {"quota_usage": 100, "config": {"quota_total": 100, "quota_duration": 86400}}
    fault = Fault(response(400, {"error": {"code": 4, "message": "Message"}}, **headers))
    async with running_adapter(name, faults={"publish": [fault]}, quota=quota) as run:
        error = await refusal(run)

    assert error.message == (
        "Meta limits the number of requests. Meta's reason: Message The account has published 100 of 100"
        " posts; Meta allows no more within 24 hours."
    )
    assert error.retry_after == wait
    (call,) = run.stub.calls_of("GET", run.stub.api.limit)
    assert call.own_parameters == {"fields": "quota_usage,config"}


@pytest.mark.parametrize(
    ("quota", "answers"),
    [
        ({"quota_usage": 99, "config": {"quota_total": 100}}, []),
        ({"quota_usage": "many"}, []),
        ({}, [response(500)]),
        ({}, [response(200, {"data": []})]),
        ({}, [response(200, {"data": 1})]),
        ({}, [graph_error(4)]),
    ],
)
async def test_error_of_other_limit_has_no_number_of_posts(
    quota: dict[str, object], answers: list[bytes]
) -> None:
    faults = {"publish": [Fault(graph_error(4))], "limit": [Fault(answer) for answer in answers]}
    async with running_adapter(faults=faults, quota=quota) as run:
        error = await refusal(run)

    assert error.message == "Meta limits the number of requests. Meta's reason: Message"


@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize("operation", ["create", "status", "publish"])
async def test_no_error_contains_token(operation: str, status: int) -> None:
    echo = {"error": {"code": 190, "message": f"Error validating {TOKEN}"}}
    async with running_adapter(faults={operation: [Fault(response(status, echo))]}) as run:
        error = await publish_error(run)

    assert TOKEN not in f"{error.message}{error.raw}"
    assert TOKEN not in str(run.checkpoint.values)
