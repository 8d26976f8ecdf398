"""Log lines of requests: fields, format, and texts that clients choose."""

import logging
import re

import pytest
import structlog

from app.observability.logs import configure_logging
from app.observability.request_recorder import RequestRecorder
from tests.http.asgi import build_application, http_client, raising
from tests.observability.conftest import log_lines
from tests.observability.request_records import (
    READ_FIELDS,
    counted,
    make_record,
    read_record,
    record_request,
)

TOKEN = "pe_live_0123456789abcdef0123456789abcdef"


async def test_request_is_one_line_with_all_fields(
    recorder: RequestRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")
    record_request(recorder, read_record())
    unmatched = make_record(method="BREW", path="/no\nsuch pot/é\ud800")
    record_request(recorder, unmatched, status=404, seconds=0)
    recorder.close()

    lines = log_lines(capsys)
    assert [list(line.items())[:3] for line in lines] == [
        [("level", "info"), ("logger", "app.requests"), ("event", "request finished")]
    ] * 2
    assert [dict(list(line.items())[3:]) for line in lines] == [
        READ_FIELDS,
        {
            "request_id": "00000001",
            "method": "BREW",
            "path": "/no%0Asuch%20pot/%C3%A9%3F",
            "status": 404,
            "duration_ms": 0.0,
            "bytes": 0,
        },
    ]


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_line_is_like_those_of_structlog(
    recorder: RequestRecorder, log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", log_format)
    record_request(recorder, read_record())
    record_request(recorder, read_record(), status=500)
    recorder.close()
    log = structlog.get_logger("app.requests")
    log.info("request finished", **READ_FIELDS)
    log.error("request finished", **{**READ_FIELDS, "status": 500})

    timestamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    lines = re.sub(timestamp, "TIME", capsys.readouterr().err).splitlines()
    assert len(lines) == 4
    assert lines[:2] == lines[2:]
    assert lines[0].count("TIME") == 1


@pytest.mark.parametrize(
    ("level", "statuses"), [("info", [200, 499, 500, 503]), ("error", [500, 503])]
)
async def test_failures_of_the_server_are_logged_at_error_level(
    recorder: RequestRecorder,
    level: str,
    statuses: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level, "json")
    for status in (200, 499, 500, 503):
        record_request(recorder, make_record(), status)
    recorder.close()

    levels = {200: "info", 499: "info", 500: "error", 503: "error"}
    assert [(line["status"], line["level"]) for line in log_lines(capsys)] == [
        (status, levels[status]) for status in statuses
    ]


async def test_nothing_is_written_before_logging_is_configured(
    recorder: RequestRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("app").setLevel(logging.INFO)
    record_request(recorder, make_record())
    recorder.close()

    assert capsys.readouterr().err == ""
    assert counted(recorder) == 1


async def test_failure_is_logged_with_traceback_and_without_secrets(
    recorder: RequestRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")

    app = build_application(raising(LookupError("internals")), recorder)
    async with http_client(app) as client:
        response = await client.get(
            f"/posts/{TOKEN}?search=confidential", headers={"Authorization": f"Bearer {TOKEN}"}
        )
    recorder.close()

    failed, finished = log_lines(capsys)
    assert (failed["level"], failed["event"]) == ("error", "request failed")
    assert failed["logger"] == finished["logger"] == "app.requests"
    assert str(failed["exception"]).endswith("LookupError: internals")
    assert (finished["level"], finished["status"], finished["path"]) == ("error", 500, "/posts/***")
    assert finished["errors"] == ["internal_error"]
    assert {failed["request_id"], finished["request_id"]} == {response.headers["X-Request-Id"]}
    for secret in (TOKEN, "Authorization", "confidential"):
        assert secret not in repr((failed, finished))


# Texts that clients choose


CLIENT_TEXTS = ("method", "path", "operation_name", "client_address")


@pytest.mark.parametrize("name", CLIENT_TEXTS)
@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_secrets_in_texts_of_the_client_are_redacted(
    recorder: RequestRecorder, name: str, log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", log_format)
    record_request(recorder, make_record(**{name: f"/{TOKEN}"}))
    recorder.close()

    line = capsys.readouterr().err
    assert TOKEN not in line
    assert line.count("***") == 1


@pytest.mark.parametrize("name", CLIENT_TEXTS)
@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    "separator",
    ["\n", "\r", "\x00", "\x1b[2K", "\x7f", "\x85", "\x9b2K", "\u2028", "\u202e", "é", "\ud800"],
)
async def test_text_of_a_client_cannot_forge_or_hide_a_line(
    recorder: RequestRecorder,
    name: str,
    log_format: str,
    separator: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", log_format)
    record_request(recorder, make_record(**{name: f"/a{separator}2026 [info] forged"}))
    recorder.close()

    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert "/a%" in line


@pytest.mark.parametrize("name", ["path", "operation_name"])
async def test_long_texts_of_clients_are_cut(
    recorder: RequestRecorder, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")
    record_request(recorder, make_record(**{name: "/" + "x" * 1000}))
    recorder.close()

    (line,) = log_lines(capsys)
    assert line[{"operation_name": "operation"}.get(name, name)] == "/" + "x" * 199


@pytest.mark.parametrize("name", ["path", "operation_name"])
@pytest.mark.parametrize("start", ["/", f"/{TOKEN}/", "/é/"])
async def test_key_at_the_cut_of_a_text_is_not_logged(
    recorder: RequestRecorder, name: str, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")
    for length in range(100, 260):
        record_request(recorder, make_record(**{name: start.ljust(length, "x") + f"/{TOKEN}"}))
    recorder.close()

    output = capsys.readouterr().err
    assert output.count("\n") == 160
    assert TOKEN[:20] not in output
