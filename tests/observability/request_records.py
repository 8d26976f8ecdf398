"""Records of requests, their log lines, and the metrics of a recorder."""

from uuid import UUID

from prometheus_client import CollectorRegistry

from app.domain.ids import ApiKeyId, WorkspaceId
from app.observability.request_recorder import RequestRecord, RequestRecorder

COUNTS = "post_results_http_requests_total"


def make_record(**values: object) -> RequestRecord:
    """Create the record of a GET request without a route."""
    defaults = {"request_id": "00000001", "client_address": None, "method": "GET", "path": "/"}
    record = RequestRecord()
    for name, value in {**defaults, **values}.items():
        setattr(record, name, value)
    return record


def read_record(**values: object) -> RequestRecord:
    """Create the record of a GraphQL query with all fields."""
    return make_record(
        **{
            "request_id": "0000cafe",
            "method": "POST",
            "route": "/graphql",
            "path": "/graphql",
            "body_bytes": 512,
            "client_address": "203.0.113.7",
            "api": "graphql",
            "api_key_id": ApiKeyId(UUID(int=1)),
            "workspace_id": WorkspaceId(UUID(int=2)),
            "operation_name": "Posts",
            "operation_type": "query",
            "error_codes": ("not_found", "bad_cursor"),
            **values,
        }
    )


READ_FIELDS = {
    "request_id": "0000cafe",
    "method": "POST",
    "path": "/graphql",
    "status": 200,
    "duration_ms": 12.3,
    "bytes": 512,
    "client": "203.0.113.7",
    "api": "graphql",
    "api_key_id": "00000000-0000-0000-0000-000000000001",
    "workspace_id": "00000000-0000-0000-0000-000000000002",
    "operation": "Posts",
    "operation_type": "query",
    "errors": ["not_found", "bad_cursor"],
}


def record_request(
    recorder: RequestRecorder,
    record: RequestRecord,
    status: int = 200,
    seconds: float = 0.012_345,
) -> None:
    recorder.request_started()
    recorder.request_finished(record, status, seconds)


def registry_of(recorder: RequestRecorder) -> CollectorRegistry:
    return recorder._metrics.registry


def counted(recorder: RequestRecorder) -> float:
    """Number of requests in the metrics, of all labels."""
    families = registry_of(recorder).collect()
    samples = [sample for family in families for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == COUNTS)
