"""Resolves the document of a request: its text, its hash, or the id of a trusted document.

Hashes follow Apollo's automatic persisted queries, ids appendix A of GraphQL over HTTP:
https://github.com/graphql/graphql-over-http/blob/main/spec/Appendix%20A%20--%20Persisted%20Documents.md
"""

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import orjson
from cachetools import LRUCache
from graphql import GraphQLError

from app.domain.errors import (
    DocumentNotTrusted,
    InvalidInput,
    LimitExceeded,
    PersistedQueryNotFound,
    PersistedQueryNotSupported,
)
from app.domain.ids import WorkspaceId
from app.graphql.engine.executable_schema import Schema, check_document
from app.graphql.engine.operation_request import NO_QUERY, PERSISTED_QUERY, OperationRequest
from app.graphql.engine.prepared_operation import Document
from app.settings import GraphQLLimits, Settings, SettingsError


def create_document_store(
    settings: Settings, schema: Schema, board_documents_file: Path
) -> "DocumentStore":
    """Create the document store for these settings.

    Raises SettingsError if a trusted document cannot be read, or would be rejected with any variables.
    """
    return DocumentStore(
        _create_client_documents(settings, schema),
        schema.limits,
        _load_board_documents(board_documents_file) if settings.board else {},
    )


def _create_client_documents(
    settings: Settings, schema: Schema
) -> "PersistedQueries | TrustedDocuments":
    if not settings.trusted_documents:
        return PersistedQueries(settings.persisted_queries_bytes)
    texts: dict[str, str] = {}
    for path in settings.trusted_documents:
        try:
            _load_manifest(texts, path, schema, settings.graphql)
        except _InvalidManifest as problem:
            raise SettingsError(f"TRUSTED_DOCUMENTS: {path} {problem}") from None
    return TrustedDocuments(texts)


def _load_board_documents(path: Path) -> Mapping[str, Document]:
    """Read the documents of the board by id; there are none before it is built.

    They fit the default limits, and the limits that an operator sets for clients must not break the board.
    """
    try:
        texts: dict[str, str] = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    limits = GraphQLLimits()
    return {document_id: Document(text, limits) for document_id, text in texts.items()}


class DocumentStore:
    """Store of the documents of clients, and of those of the board, which only their id requests."""

    def __init__(
        self,
        client_documents: "PersistedQueries | TrustedDocuments",
        client_limits: GraphQLLimits,
        board_documents: Mapping[str, Document],
    ) -> None:
        self.trusted_only = client_documents.trusted_only
        self.store = client_documents.store
        """Function that stores the document of a request that was executed, if it was sent with its hash."""
        self._client_documents = client_documents
        self._client_limits = client_limits
        self._board_documents = board_documents

    def resolve(self, request: OperationRequest, workspace: WorkspaceId) -> Document:
        """Return the requested document, or raise a RequestError."""
        if request.document_id and not request.query and not request.sha256_hash:
            document = self._board_documents.get(request.document_id)
            if document is not None:
                return document
        return Document(self._client_documents.resolve(request, workspace), self._client_limits)


class PersistedQueries:
    """Store that accepts any document, or the hash of one sent before (automatic persisted queries).

    Each workspace has its own hashes, so that none reveals what another workspace sent.
    """

    trusted_only = False
    ENTRY_OVERHEAD_BYTES = 750
    """Measured memory of a cache entry beside the UTF-8 bytes of its document."""

    def __init__(self, max_bytes: int) -> None:
        """Set the size of the cache; zero bytes disable hashes."""
        self._is_disabled = max_bytes == 0
        self._cache: LRUCache[tuple[WorkspaceId, str], bytes] = LRUCache(
            max_bytes, getsizeof=lambda encoded: len(encoded) + self.ENTRY_OVERHEAD_BYTES
        )

    def resolve(self, request: OperationRequest, workspace: WorkspaceId) -> str:
        """Return the text of the requested document, or raise a RequestError."""
        if request.document_id:
            raise InvalidInput(
                "This documentId is unknown, and this server has no trusted documents; send the document"
                " as query.",
                argument="documentId",
            )
        if request.sha256_hash and self._is_disabled:
            raise PersistedQueryNotSupported("PersistedQueryNotSupported")
        if request.query and request.sha256_hash and _sha256(request.query) != request.sha256_hash:
            argument = f"{PERSISTED_QUERY}.sha256Hash"
            raise InvalidInput(
                f"{argument} does not match query; it must be the SHA-256 of its UTF-8 bytes in"
                " lower-case hex digits.",
                argument=argument,
            )
        if request.query:
            return request.query
        if not request.sha256_hash:
            raise InvalidInput(NO_QUERY, argument="query")
        encoded = self._cache.get((workspace, request.sha256_hash))
        if encoded is None:
            raise PersistedQueryNotFound("PersistedQueryNotFound")
        return encoded.decode()

    def store(self, request: OperationRequest, workspace: WorkspaceId) -> None:
        """Store the document of a request that was executed."""
        if request.query and request.sha256_hash:
            with suppress(ValueError):  # larger than the whole cache
                self._cache[workspace, request.sha256_hash] = request.query.encode()


class TrustedDocuments:
    """Store of listed documents only, requested by id, by hash or by their exact text."""

    trusted_only = True

    def __init__(self, texts_by_id: Mapping[str, str]) -> None:
        self._texts = dict(texts_by_id)
        self._trusted_texts = frozenset(texts_by_id.values())
        for text in self._trusted_texts:
            for name in (_sha256(text), f"sha256:{_sha256(text)}"):
                self._texts.setdefault(name, text)

    def resolve(self, request: OperationRequest, workspace: WorkspaceId) -> str:  # noqa: ARG002
        """Return the text of the requested document, or raise a RequestError."""
        names = [name for name in (request.document_id, request.sha256_hash) if name]
        documents = {_require_trusted(self._texts.get(name)) for name in names}
        if request.query:
            documents.add(
                _require_trusted(request.query if request.query in self._trusted_texts else None)
            )
        if not documents:
            raise InvalidInput(
                "documentId must name a trusted document; this server executes no others.",
                argument="documentId",
            )
        if len(documents) > 1:
            raise InvalidInput(
                "query, documentId and extensions.persistedQuery name different documents; send one"
                " of them.",
                argument="documentId",
            )
        return documents.pop()

    def store(self, request: OperationRequest, workspace: WorkspaceId) -> None:
        """Do nothing, since the list of documents is fixed."""


def _require_trusted(text: str | None) -> str:
    if text is None:
        raise DocumentNotTrusted(
            "This server executes only trusted documents, and this document is not trusted. Send the"
            " documentId of a trusted document, or ask the operator to add yours."
        )
    return text


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class _InvalidManifest(Exception):
    """Error of a file of trusted documents; the message continues a sentence after its path."""


def _load_manifest(
    texts: dict[str, str], path: Path, schema: Schema, graphql_limits: GraphQLLimits
) -> None:
    """Add the documents of a file to `texts` by id, after checking that each can be executed."""
    entries = _manifest_entries(_read_json(path))
    if not entries:
        raise _InvalidManifest("lists no document.")
    for number, (document_id, text) in enumerate(entries, start=1):
        if not isinstance(document_id, str) or not document_id or not isinstance(text, str):
            raise _InvalidManifest(
                f"must have an id and a text for each document; number {number} lacks one."
            )
        if texts.setdefault(document_id, text) != text:
            raise _InvalidManifest(f"has the id {document_id} for two different documents.")
        _check_entry(document_id, text, schema, graphql_limits)


def _read_json(path: Path) -> object:
    try:
        content: object = orjson.loads(path.read_bytes())
    except OSError as error:
        raise _InvalidManifest(f"cannot be read: {error.strerror}.") from None
    except orjson.JSONDecodeError as error:
        location = f"line {error.lineno}, column {error.colno}"
        raise _InvalidManifest(f"is not JSON: {error.msg} at {location}.") from None
    return content


def _manifest_entries(content: object) -> list[tuple[object, object]]:
    """Return ids and texts of an Apollo manifest, or of the map that graphql-codegen and Relay write."""
    match content:
        case {"format": "apollo-persisted-query-manifest", "version": 1, "operations": list(items)}:
            operations = (item if isinstance(item, dict) else {} for item in items)
            return [(operation.get("id"), operation.get("body")) for operation in operations]
        case {"format": "apollo-persisted-query-manifest"}:
            raise _InvalidManifest(
                "must have version 1 and a list of operations, as Apollo's manifests do."
            )
        case dict():
            return list(content.items())
        case _:
            raise _InvalidManifest(
                "must be Apollo's manifest, or a JSON object of ids and GraphQL documents."
            )


def _check_entry(
    document_id: str, text: str, schema: Schema, graphql_limits: GraphQLLimits
) -> None:
    try:
        check_document(schema, text, graphql_limits)
    except (GraphQLError, LimitExceeded) as error:
        name = _OPERATION_NAME.search(text)
        operation = f"the operation {name[1]}" if name else "a document"
        locations = error.locations if isinstance(error, GraphQLError) else None
        location = f" (line {locations[0].line}, column {locations[0].column})" if locations else ""
        raise _InvalidManifest(
            f"has {operation}, with the id {document_id}, that cannot be executed{location}:"
            f" {error.message}"
        ) from None


# A regular expression, because a document with a syntax error has a name too.
_OPERATION_NAME = re.compile(r"\b(?:query|mutation|subscription)\s+(\w+)")
