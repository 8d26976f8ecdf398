"""Images in `data:` URLs: stored for publishers, and described to readers, who can write them back."""

from app.domain.media import MAX_DATA_URL_BYTES
from app.services.expirations import settle_expired_leases
from tests.clients import Tenant
from tests.domain.test_media import DESCRIPTION, UNKNOWN_DIGEST, URL, image_url
from tests.factories import add_account
from tests.graphql.schema.mutations.mutation_calls import expect_refusal, run_mutation
from tests.graphql.schema.mutations.publisher_client import PublisherClient
from tests.graphql.schema.mutations.test_posts import CREATE, CREATE_SEVERAL, UPDATE

ITEM = {"url": URL, "alt": "A cave"}
SHOWN = {"alt": "A cave", "data": DESCRIPTION}
CHANGES = "{ changes(types: [POST_CREATED, POST_CHANGED]) { nodes { values previous } } }"


async def test_image_is_described_in_every_answer_but_the_claim(publisher: PublisherClient) -> None:
    account = await add_account(publisher.database, publisher.workspace)
    created = await run_mutation(
        publisher, CREATE, content="Sale", accountIds=[account], media=[ITEM]
    )
    post = created["post"]
    changed = await run_mutation(
        publisher, UPDATE, postId=post["postId"], media=[*post["media"], {"id": "m1"}]
    )

    data = await publisher.client.query(
        "query ($id: UUID!) { post(postId: $id) { media } posts { nodes { media } } }",
        id=post["postId"],
    )
    nodes = (await publisher.client.query(CHANGES))["changes"]["nodes"]
    (claim,) = await publisher.claim()
    assert post["media"] == [SHOWN]
    assert changed["post"]["media"] == [SHOWN, {"id": "m1"}]
    assert data == {
        "post": {"media": [SHOWN, {"id": "m1"}]},
        "posts": {"nodes": [{"media": [SHOWN, {"id": "m1"}]}]},
    }
    assert [node["values"]["media"] for node in nodes] == [[SHOWN], [SHOWN, {"id": "m1"}]]
    assert [node["previous"]["media"] for node in nodes] == [None, [SHOWN]]
    assert claim["media"] == [ITEM, {"id": "m1"}]


async def test_claim_of_a_verification_has_the_image(publisher: PublisherClient) -> None:
    await publisher.add_post(media=[ITEM])
    await publisher.lost_token()
    await settle_expired_leases(publisher.database, publisher.clock.now)
    payload = await publisher.call("claimVerifications")
    assert [claim["media"] for claim in payload["claims"]] == [[ITEM]]


async def test_media_that_were_read_change_nothing_when_they_are_written_back(acme: Tenant) -> None:
    created = await run_mutation(acme, CREATE, content="Sale", draft=True, media=[ITEM])
    post = created["post"]

    unchanged = await run_mutation(acme, UPDATE, postId=post["postId"], media=post["media"])
    new_text = {**SHOWN, "alt": "The cave"}
    changed = await run_mutation(acme, UPDATE, postId=post["postId"], media=[new_text])

    assert (unchanged["post"]["version"], unchanged["post"]["media"]) == (1, [SHOWN])
    assert (changed["post"]["version"], changed["post"]["media"]) == (2, [new_text])


async def test_digest_of_an_image_of_another_post_is_rejected(acme: Tenant) -> None:
    await run_mutation(acme, CREATE, content="Sale", draft=True, media=[ITEM])
    other = (await run_mutation(acme, CREATE, content="Else", draft=True))["post"]["postId"]
    media = [{"id": "m1"}, SHOWN]
    argument, message = UNKNOWN_DIGEST
    error = ("VALIDATION_ERROR", f"input.{argument}", message)

    assert await expect_refusal(acme, UPDATE, postId=other, media=media) == error
    assert await expect_refusal(acme, CREATE, draft=True, media=media) == error
    payload = await run_mutation(acme, CREATE_SEVERAL, posts=[{"draft": True, "media": media}])
    assert payload["results"][0]["error"] == {
        "code": "VALIDATION_ERROR",
        "field": argument,
        "message": message,
    }


async def test_images_over_256_kib_together_are_rejected(acme: Tenant) -> None:
    half = {"url": image_url(MAX_DATA_URL_BYTES // 2)}
    created = await run_mutation(acme, CREATE, draft=True, media=[half, half])
    media = [half, half, {"url": "data:,"}]
    message = (
        "The data: URLs in media have 262,150 bytes together; at most 262,144 are allowed. Use smaller"
        " images, or their https: URLs."
    )

    post_id = created["post"]["postId"]
    for document, key in ((CREATE, {"draft": True}), (UPDATE, {"postId": post_id})):
        error = await expect_refusal(acme, document, **key, media=media)
        assert error[:2] == ("VALIDATION_ERROR", "input.media")
        assert error[2].endswith(message)
    kept = [*created["post"]["media"], {"url": "data:,"}]
    error = await expect_refusal(acme, UPDATE, postId=post_id, media=kept)
    assert error[2].endswith(message)
    payload = await run_mutation(acme, CREATE_SEVERAL, posts=[{"draft": True, "media": media}])
    assert payload["results"][0]["error"]["message"] == message
