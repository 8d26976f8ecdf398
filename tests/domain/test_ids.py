"""The one accepted text form of every id, and opaque node ids."""

import base64
from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.errors import InvalidId
from app.domain.ids import (
    MAX_ACCOUNT_ID,
    AccountId,
    FailureGroupKey,
    NodeKey,
    NodeKind,
    decode_node_id,
    encode_node_id,
    parse_account_id,
    parse_uuid,
    validate_account_id,
)
from tests.domain.errors import ACCOUNT_ID_MESSAGE, UUID_MESSAGE, expect_error

POST = UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479")
NODE_ID_MESSAGE = "The id is not one that this API returned in a field named `id`."

ACCOUNT_IDS = st.integers(1, MAX_ACCOUNT_ID).map(AccountId)
NODES = st.one_of(
    st.tuples(st.sampled_from((NodeKind.POST, NodeKind.DESTINATION)), st.uuids()),
    st.tuples(st.just(NodeKind.ACCOUNT), ACCOUNT_IDS),
    st.tuples(
        st.just(NodeKind.FAILURE_GROUP),
        st.from_regex(
            r"[0-9]{1,4}-[0-9a-f]{32}", fullmatch=True, alphabet=st.characters(codec="ascii")
        ).map(FailureGroupKey),
    ),
)


def encode_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


ACCOUNT_NODE_ID = encode_base64("Account:2280")


def id_error(function: Callable[..., object], *args: object) -> tuple[str | None, str]:
    error = expect_error(InvalidId, function, *args)
    return error.argument, error.message


@given(st.uuids())
def test_uuid_is_parsed_in_its_36_character_form_in_either_case(uuid: UUID) -> None:
    assert parse_uuid(str(uuid)) == uuid
    assert parse_uuid(str(uuid).upper()) == uuid


@pytest.mark.parametrize(
    "text",
    [
        *("", "f47ac10b58cc4372a5670e02b2c3d479", "{f47ac10b-58cc-4372-a567-0e02b2c3d479}"),
        "urn:uuid:f47ac10b-58cc-4372-a567-0e02b2c3d479",
        *(" f47ac10b-58cc-4372-a567-0e02b2c3d479", "f47ac10b-58cc-4372-a567-0e02b2c3d479 "),
        *("f47ac10b-58cc-4372-a567-0e02b2c3d479\n", "f47ac10b-58cc-4372-a567-0e02b2c3d47"),
        *("f47ac10b-58cc-4372-a567-0e02b2c3d4790", "f47ac10b-58cc-4372-a567-0e02b2c3d47g"),
        *("f47ac10-b58cc-4372-a567-0e02b2c3d479", "f47ac10b-58cc-4372-a5670e02-b2c3d479"),
        *("f47ac10b_58cc_4372_a567_0e02b2c3d479", "f47ac10b–58cc–4372–a567–0e02b2c3d479"),
        *("f٤7ac10b-58cc-4372-a567-0e02b2c3d479", "ｆ47ac10b-58cc-4372-a567-0e02b2c3d479"),
        *("f47ac10b-58cc-4372-a567-0e02b2c3d47\0", "\ud800"),
    ],
)
def test_any_other_form_of_uuid_is_rejected(text: str) -> None:
    assert id_error(parse_uuid, text, "postId") == ("postId", UUID_MESSAGE)


@given(st.text())
def test_any_text_but_a_uuid_is_rejected(text: str) -> None:
    expect_error(InvalidId, parse_uuid, text)


@given(ACCOUNT_IDS)
@example(AccountId(1))
@example(AccountId(2**31 - 1))
def test_account_id_is_parsed_from_decimal_digits(account_id: AccountId) -> None:
    assert parse_account_id(str(account_id)) == account_id
    assert validate_account_id(account_id) == account_id


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "-1", "+1", "01", "1.0", "1e3", " 1", "1 ", "1\n", "1_000", "0x10", "٣", "²"),
        *("abc", "2147483648", "9999999999"),
        pytest.param("9" * 5000, id="5,000 digits"),
    ],
)
def test_any_other_form_of_account_id_is_rejected(text: str) -> None:
    assert id_error(parse_account_id, text, "accountId") == ("accountId", ACCOUNT_ID_MESSAGE)


@pytest.mark.parametrize("number", [-(2**63), -1, 0, 2**31, 2**63, 2**200])
def test_account_id_out_of_range_is_rejected(number: int) -> None:
    assert id_error(validate_account_id, number, "accountId") == ("accountId", ACCOUNT_ID_MESSAGE)


def test_node_id_is_kind_and_key_in_base64() -> None:
    assert encode_node_id(NodeKind.POST, POST) == encode_base64(f"Post:{POST}")
    assert encode_node_id(NodeKind.DESTINATION, POST) == encode_base64(f"Destination:{POST}")
    assert encode_node_id(NodeKind.ACCOUNT, 2280) == ACCOUNT_NODE_ID


@given(NODES)
def test_node_id_is_decoded(node: tuple[NodeKind, NodeKey]) -> None:
    assert decode_node_id(encode_node_id(*node), "id") == node


@given(NODES, NODES)
def test_different_nodes_have_different_ids(
    one: tuple[NodeKind, NodeKey], other: tuple[NodeKind, NodeKey]
) -> None:
    assert (encode_node_id(*one) == encode_node_id(*other)) == (one == other)


@pytest.mark.parametrize(
    "text",
    [
        *("", "Post", "=", "====", str(POST), f"Post:{POST}", "\ud800"),
        *map(encode_base64, ("Post", "Post:", ":", str(POST), f"post:{POST}", f"POST:{POST}")),
        *map(encode_base64, (f"Attempt:{POST}", f"Workspace:{POST}", f"Account:{POST}")),
        *map(encode_base64, (f"Post:{str(POST).upper()}", f"Post:{POST.hex}", f"Post:{POST}:")),
        *map(encode_base64, (f"Post: {POST}", f" Post:{POST}", f"Post:{POST}\n", "Post:2280")),
        *map(encode_base64, ("Account:0", "Account:02280", "Account:-1", "Account:2147483648")),
        encode_base64("Account:٣"),
        *map(
            encode_base64, (f"FailureGroup:{POST}", "FailureGroup:1-" + "A" * 32, "FailureGroup:")
        ),
        base64.b64encode(b"Account:\xff").decode(),
        *(f"{ACCOUNT_NODE_ID}=", f"{ACCOUNT_NODE_ID} ", f" {ACCOUNT_NODE_ID}"),
        *(f"{ACCOUNT_NODE_ID}\n", f"{ACCOUNT_NODE_ID[:4]}\n{ACCOUNT_NODE_ID[4:]}"),
        encode_base64("Account:22800").rstrip("="),
        f"é{ACCOUNT_NODE_ID}",
    ],
)
def test_any_other_text_is_rejected_as_node_id(text: str) -> None:
    assert id_error(decode_node_id, text, "id") == ("id", NODE_ID_MESSAGE)


@given(NODES, st.data())
def test_node_id_with_changed_character_is_another_node_or_rejected(
    node: tuple[NodeKind, NodeKey], data: st.DataObject
) -> None:
    text = encode_node_id(*node)
    index = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.characters().filter(lambda c: c != text[index]))
    changed = text[:index] + character + text[index + 1 :]
    try:
        decoded = decode_node_id(changed, "id")
    except InvalidId:
        return
    assert decoded != node
    assert encode_node_id(*decoded) == changed


@given(st.text())
def test_any_text_but_a_node_id_is_rejected(text: str) -> None:
    expect_error(InvalidId, decode_node_id, text, "id")
