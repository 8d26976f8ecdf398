"""Names of operations that are mutations of the API, or the starts of some."""

import pytest
from graphql import build_schema

from app.domain.operations import (
    CANCEL,
    CLAIM_VERIFICATIONS,
    DELETE,
    RECONCILE,
    RELEASE_CLAIM,
    REPORT_VERIFIED,
    RETRY,
    UPDATE_POST,
)
from tests.external_programs import ROOT


@pytest.fixture(scope="module")
def mutations() -> list[str]:
    schema = build_schema((ROOT / "schema.graphql").read_text())
    assert schema.mutation_type is not None
    return [*schema.mutation_type.fields]


@pytest.mark.parametrize(
    "operation", [UPDATE_POST, RELEASE_CLAIM, CLAIM_VERIFICATIONS, REPORT_VERIFIED]
)
def test_operation_of_a_client_has_the_name_of_its_mutation(
    mutations: list[str], operation: str
) -> None:
    assert operation in mutations


@pytest.mark.parametrize(
    ("start", "names"),
    [
        (CANCEL, "cancelPost cancelPosts"),
        (DELETE, "deletePost deleteWebhook"),
        (RETRY, "retryAfterReconnect retryDestinations retryPost"),
        (RECONCILE, "reconcileDestination reconcileDestinations"),
    ],
)
def test_mutations_with_a_common_start(mutations: list[str], start: str, names: str) -> None:
    assert sorted(name for name in mutations if name.startswith(start)) == names.split()
