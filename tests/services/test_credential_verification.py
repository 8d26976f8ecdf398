"""Verification of credentials before they are stored: what is stored then, and what is refused."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import orjson
import pytest
import structlog

from app.domain.accounts import AccountPublisher
from app.domain.credentials import parse_credentials
from app.domain.destinations import ErrorCategory
from app.domain.errors import InvalidInput, ServiceUnavailable
from app.domain.ids import WorkspaceId
from app.domain.validation.text import MAX_NAME_LENGTH
from app.platforms.protocol import (
    AccountIdentity,
    Credentials,
    NotPublished,
    OutcomeUnknown,
    PlatformAdapter,
)
from app.services.credential_files import CredentialFiles
from app.services.credentials import CredentialsToSet, CredentialVerifier, identify
from tests.credential_rows import CIPHER, VALUES
from tests.platforms.verifying_platform import VerifyingPlatform

WORKSPACE = WorkspaceId(UUID(int=1))
ALICE = AccountIdentity(platform_user_id="did:plc:1", username="alice.test")
SESSION = {**VALUES, "session": "s1"}
REFERENCE = {"ref": "file:bluesky.json"}
NOT_VERIFIED = "The credentials were not verified."


def to_set(values: object = VALUES) -> CredentialsToSet:
    return CredentialsToSet(parse_credentials(values), CIPHER, "fingerprint")


async def verify(
    platform: PlatformAdapter, values: object = VALUES, *, files: CredentialFiles | None = None
) -> CredentialsToSet:
    verifier = CredentialVerifier({AccountPublisher.BLUESKY: platform}, files, exchange_code=None)
    return await verifier.verify(WORKSPACE, AccountPublisher.BLUESKY, to_set(values))


async def refused(call: Awaitable[object]) -> tuple[str | None, str]:
    with pytest.raises(InvalidInput) as caught:
        await call
    return caught.value.argument, caught.value.message


async def unavailable(call: Awaitable[object]) -> tuple[int | None, str]:
    with pytest.raises(ServiceUnavailable) as caught:
        await call
    assert caught.value.__cause__ is None
    return caught.value.retry_after, caught.value.message


async def test_verified_credentials_have_their_account() -> None:
    verified = await verify(VerifyingPlatform(ALICE))

    assert verified == CredentialsToSet(
        parse_credentials(VALUES), CIPHER, "fingerprint", identity=ALICE
    )


async def test_tokens_that_the_platform_issued_are_stored_with_the_same_fingerprint() -> None:
    verified = await verify(VerifyingPlatform(ALICE, new_values=SESSION))

    assert orjson.loads(verified.credentials.text) == SESSION
    assert verified.fingerprint == "fingerprint"


async def test_account_has_no_names_that_could_not_be_stored() -> None:
    identity = AccountIdentity(
        platform_user_id="1" * (MAX_NAME_LENGTH + 1),
        username="\0",
        display_name="\x1b[2J",
        avatar_url="javascript:alert(1)",
        profile_url="https://example.social/@alice",
    )

    verified = await verify(VerifyingPlatform(identity))

    assert verified.identity == AccountIdentity(profile_url="https://example.social/@alice")


@pytest.mark.parametrize("category", [ErrorCategory.AUTH, ErrorCategory.PERMANENT])
async def test_refusal_has_the_sentence_of_the_adapter(category: ErrorCategory) -> None:
    platform = VerifyingPlatform(NotPublished(category, "WRONG", "Wrong password."))

    assert await refused(verify(platform)) == ("credentials", "Wrong password.")


@pytest.mark.parametrize(
    ("error", "retry_after", "message"),
    [
        (NotPublished(ErrorCategory.TRANSIENT, "X", "No server there."), 30, "No server there."),
        (
            NotPublished(
                ErrorCategory.RATE_LIMITED, "X", "Busy.", retry_after=timedelta(seconds=0.5)
            ),
            1,
            "Busy.",
        ),
        (
            OutcomeUnknown("Answered 503, and may be published.", http_status=503),
            30,
            f"The server answered 503 without a usable result. {NOT_VERIFIED}",
        ),
        (
            OutcomeUnknown("The server's answer has no valid did."),
            30,
            f"The server's answer has no valid did. {NOT_VERIFIED}",
        ),
        (KeyError("id"), 30, f"The platform's answer could not be read. {NOT_VERIFIED}"),
    ],
)
async def test_platform_without_an_answer_is_a_retryable_error(
    error: Exception, retry_after: int, message: str
) -> None:
    with structlog.testing.capture_logs():
        assert await unavailable(verify(VerifyingPlatform(error))) == (retry_after, message)


async def test_verification_has_a_time_limit() -> None:
    class SilentPlatform(VerifyingPlatform):
        async def verify_credentials(self, credentials: Credentials) -> AccountIdentity:
            await asyncio.Event().wait()
            return ALICE

    platform = SilentPlatform(ALICE)
    with pytest.raises(NotPublished) as caught:
        await identify(platform, platform.unused_credentials, timedelta(seconds=0.01))

    assert (caught.value.category, caught.value.message) == (
        ErrorCategory.TRANSIENT,
        f"The platform did not answer within 0.01 s. {NOT_VERIFIED}",
    )


async def test_external_publisher_has_nothing_that_verifies() -> None:
    adapters = {AccountPublisher.BLUESKY: VerifyingPlatform(ALICE)}
    verifier = CredentialVerifier(adapters, None, exchange_code=None)

    assert await refused(verifier.verify(WORKSPACE, AccountPublisher.EXTERNAL, to_set())) == (
        "verify",
        "Credentials of an account with the publisher EXTERNAL cannot be verified. Choose an adapter of the"
        " worker, such as BLUESKY, or do not verify them.",
    )


async def test_process_without_files_refuses_a_reference() -> None:
    platform = VerifyingPlatform(ALICE)

    assert await refused(verify(platform, REFERENCE)) == (
        "verify",
        "This server does not read the files of credentials, so it cannot verify them. Set verify to false:"
        " a worker verifies them.",
    )
    assert platform.verified == []


async def test_process_with_files_verifies_what_a_reference_names(tmp_path: Path) -> None:
    directory = tmp_path / str(WORKSPACE)
    directory.mkdir()
    (directory / "bluesky.json").write_bytes(orjson.dumps(VALUES))
    platform = VerifyingPlatform(ALICE)
    files = CredentialFiles(tmp_path)

    assert (await verify(platform, REFERENCE, files=files)).credentials == (
        parse_credentials(REFERENCE)
    )
    assert platform.verified == [VALUES]
    issuing = VerifyingPlatform(ALICE, new_values=SESSION)
    verified = await verify(issuing, REFERENCE, files=files)
    stored = orjson.loads(verified.credentials.text)
    assert (stored["ref"], stored["values"]) == ("file:bluesky.json", SESSION)


async def test_reference_without_its_file_is_refused(tmp_path: Path) -> None:
    argument, message = await refused(
        verify(VerifyingPlatform(ALICE), REFERENCE, files=CredentialFiles(tmp_path))
    )

    assert argument == "credentials"
    assert message.startswith("The credentials cannot be read: their file below ")
