"""`GET /changes`: pages of the workspace's change feed."""

from app.domain.events import EventKind
from app.graphql.schema.connections import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from app.http.request import HttpRequest
from app.rest.operations import DocumentResult, JsonObject, QueryOperation, Variables
from app.rest.parameters import read_enum_names, read_integer, read_last_value, read_uuid

_KIND_BY_NAME = {kind.value: kind for kind in EventKind}


def _changes_variables(request: HttpRequest) -> Variables:
    """Read cursor, page size and filters; the GraphQL field validates the cursor."""
    query = request.query()
    return {
        "after": read_last_value(query, "after"),
        "first": read_integer(query, "limit", 1, MAX_PAGE_SIZE, DEFAULT_PAGE_SIZE),
        "types": read_enum_names(query, "types", _KIND_BY_NAME),
        "postId": read_uuid(query, "post_id"),
        "destinationId": read_uuid(query, "destination_id"),
    }


def _changes_data(result: DocumentResult) -> JsonObject:
    page = result.data["changes"]
    return {
        **page,
        "changes": [
            {**change, "type": EventKind[change["type"]].value} for change in page["changes"]
        ],
    }


READ_CHANGES = QueryOperation(
    """
query Changes(
  $after: String
  $first: Int
  $types: [ChangeType!]
  $postId: UUID
  $destinationId: UUID
) {
  changes(
    after: $after
    first: $first
    types: $types
    postId: $postId
    destinationId: $destinationId
  ) {
    changes: nodes {
      cursor
      type
      operation
      post_id: postId
      destination_id: destinationId
      account_id: accountId
      values
      api_key_id: actorKeyId
      happened_at: happenedAt
    }
    cursor: endCursor
    has_more: hasNextPage
    latest_cursor: latestCursor
  }
}
""",
    _changes_variables,
    _changes_data,
)
