"""Requests of webhooks, sent as tests of an endpoint, on both engines."""

import pytest
from standardwebhooks import Webhook

from app.db.core.database import Database
from tests.db.all_tables import all_rows
from tests.factories import NOW, add_workspace
from tests.services.webhook_calls import TenantWithoutServer, webhook_service
from tests.webhook_receiver import ReceiverResponse, WebhookReceiver
from tests.webhook_rows import SECRET, add_webhook


@pytest.fixture
async def acme(database: Database) -> TenantWithoutServer:
    return TenantWithoutServer(database, await add_workspace(database))


async def test_test_event_is_sent_and_not_stored(acme: TenantWithoutServer) -> None:
    response = ReceiverResponse(418, "Teapot", ["X-Trace: 7", "Connection: close"])
    async with WebhookReceiver(response).running() as receiver:
        webhook_id = await add_webhook(acme.database, acme.workspace, url=receiver.url)
        before = await all_rows(acme.database)
        attempt = await webhook_service(acme.database).send_test(acme.workspace, webhook_id)
        assert await all_rows(acme.database) == before

    assert (attempt.status_code, attempt.response_body) == (418, "Teapot")
    assert ("x-trace", "7") in attempt.response_headers
    assert attempt.error == (
        "The receiver answered 418 I'm a Teapot; a delivery needs a status from 200 to 299."
    )
    (request,) = receiver.received
    body = request.body.decode()
    assert request.headers["webhook-signature"] == Webhook(SECRET).sign(request.event_id, NOW, body)
    assert '"event":"webhook.test"' in body


async def test_test_shows_a_few_kib_of_headers_without_secrets(acme: TenantWithoutServer) -> None:
    headers = [
        "Connection: close",
        f"Set-Cookie: {'a b' * 300}",
        f"X-Long: {'z y' * 900}",
        f"X-Longer: {'z' * 5_000}",
    ]
    async with WebhookReceiver(ReceiverResponse(200, "", headers)).running() as receiver:
        webhook_id = await add_webhook(acme.database, acme.workspace, url=receiver.url)
        attempt = await webhook_service(acme.database).send_test(acme.workspace, webhook_id)

    assert attempt.response_headers == [
        ("content-length", "0"),
        ("connection", "close"),
        ("set-cookie", "[redacted]"),
        ("x-long", "z y" * 900),
    ]
