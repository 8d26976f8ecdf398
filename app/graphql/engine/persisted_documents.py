"""Which document a request asks for: its text, or the hash or id of one that is known. Runs none.

Hashes are Apollo's automatic persisted queries, ids those of GraphQL over HTTP, appendix A:
https://github.com/graphql/graphql-over-http/blob/main/spec/Appendix%20A%20--%20Persisted%20Documents.md
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson
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
from app.graphql.engine.lru import SizedLRUCache
from app.settings import GraphQLLimits, Settings, SettingsError


@dataclass(frozen=True, slots=True)
class DocumentRequest:
    """What a request says of its document; what is null or empty is not said."""

    query: str | None
    document_id: str | None
    sha256_hash: str | None
    """The one in `extensions.persistedQuery`."""


def read_document_request(parameters: Mapping[str, object]) -> DocumentRequest:
    """The parameters of GraphQL over HTTP that name a document; InvalidInput for a wrong type."""
    query = parameters.get("query")
    document_id = parameters.get("documentId")
    if not isinstance(query, str | None):
        raise InvalidInput(_NO_QUERY, argument="query")
    if not isinstance(document_id, str | None):
        raise InvalidInput("documentId must be a string.", argument="documentId")
    extensions = parameters.get("extensions")
    persisted = extensions.get("persistedQuery") if isinstance(extensions, dict) else None
    sha256_hash = None if persisted is None else _sha256_hash(persisted)
    return DocumentRequest(query or None, document_id or None, sha256_hash)


_NO_QUERY = "query must be a GraphQL document."
_PERSISTED_QUERY = "extensions.persistedQuery"


def _sha256_hash(persisted: object) -> str:
    if not isinstance(persisted, dict):
        raise InvalidInput(f"{_PERSISTED_QUERY} must be a JSON object.", argument=_PERSISTED_QUERY)
    version, sha256_hash = persisted.get("version"), persisted.get("sha256Hash")
    if type(version) is not int or version != 1:  # true is 1 to Python
        argument = f"{_PERSISTED_QUERY}.version"
        raise InvalidInput(f"{argument} must be 1, the only version there is.", argument=argument)
    if not isinstance(sha256_hash, str) or not sha256_hash:
        argument = f"{_PERSISTED_QUERY}.sha256Hash"
        raise InvalidInput(f"{argument} must be the hash of a query.", argument=argument)
    return sha256_hash


class DocumentStore(Protocol):
    """The documents that may run, and the names they are known by."""

    @property
    def trusted_only(self) -> bool:
        """Whether no others run than those that were listed at the start."""

    def resolve(self, request: DocumentRequest, workspace: WorkspaceId) -> str:
        """The text of the document that is asked for, or an error that says why it is not run."""

    def store(self, request: DocumentRequest, workspace: WorkspaceId) -> None:
        """Note a document that was found and has run."""


def create_document_store(settings: Settings, schema: Schema) -> DocumentStore:
    """As the settings say; SettingsError if a trusted document cannot be read, or could never run."""
    if not settings.trusted_documents:
        return PersistedQueries(settings.persisted_queries_bytes)
    texts: dict[str, str] = {}
    for path in settings.trusted_documents:
        try:
            _load_manifest(texts, path, schema, settings.graphql)
        except _InvalidManifest as problem:
            raise SettingsError(f"TRUSTED_DOCUMENTS: {path} {problem}") from None
    return TrustedDocuments(texts)


class PersistedQueries:
    """Any document runs, and whoever sends its hash along may send the hash alone the next time.

    Each workspace has its own: a hash that is known in one tells nothing in another.
    """

    trusted_only = False

    def __init__(self, max_bytes: int) -> None:
        """Zero bytes switch hashes off."""
        self._is_disabled = max_bytes == 0
        self._cache = DocumentCache(max_bytes)

    def resolve(self, request: DocumentRequest, workspace: WorkspaceId) -> str:
        if request.document_id:
            raise InvalidInput(
                "documentId names a trusted document, and this server has none; send the document"
                " as query.",
                argument="documentId",
            )
        if request.sha256_hash and self._is_disabled:
            raise PersistedQueryNotSupported("PersistedQueryNotSupported")
        if request.query and request.sha256_hash and _sha256(request.query) != request.sha256_hash:
            argument = f"{_PERSISTED_QUERY}.sha256Hash"
            raise InvalidInput(
                f"{argument} does not match query; it must be the SHA-256 of its UTF-8 bytes in"
                " lower-case hex digits.",
                argument=argument,
            )
        if request.query:
            return request.query
        if not request.sha256_hash:
            raise InvalidInput(_NO_QUERY, argument="query")
        text = self._cache.get((workspace, request.sha256_hash))
        if text is None:
            raise PersistedQueryNotFound("PersistedQueryNotFound")
        return text

    def store(self, request: DocumentRequest, workspace: WorkspaceId) -> None:
        if request.query and request.sha256_hash:
            self._cache.put((workspace, request.sha256_hash), request.query)


DocumentKey = tuple[WorkspaceId, str]


class DocumentCache:
    """The texts that were used last, kept as UTF-8, which takes the least."""

    ENTRY_OVERHEAD_BYTES = 500
    """What a text takes in memory beside its own UTF-8: its key and its place."""

    def __init__(self, max_bytes: int) -> None:
        self._entries: SizedLRUCache[DocumentKey, bytes] = SizedLRUCache(
            max_bytes, lambda _, encoded: len(encoded) + self.ENTRY_OVERHEAD_BYTES
        )

    @property
    def size_bytes(self) -> int:
        """What the texts that are kept take."""
        return self._entries.size_bytes

    def get(self, key: DocumentKey) -> str | None:
        encoded = self._entries.get(key)
        return None if encoded is None else encoded.decode()

    def put(self, key: DocumentKey, text: str) -> None:
        """As `Recent.put`."""
        self._entries.put(key, text.encode())


class TrustedDocuments:
    """Only listed documents run, asked for by id, by hash, or by their exact text."""

    trusted_only = True

    def __init__(self, texts_by_id: Mapping[str, str]) -> None:
        self._texts = dict(texts_by_id)
        self._trusted_texts = frozenset(texts_by_id.values())
        for text in self._trusted_texts:
            for name in (_sha256(text), f"sha256:{_sha256(text)}"):
                self._texts.setdefault(name, text)

    def resolve(self, request: DocumentRequest, workspace: WorkspaceId) -> str:  # noqa: ARG002
        names = [name for name in (request.document_id, request.sha256_hash) if name]
        found = {_require_trusted(self._texts.get(name)) for name in names}
        if request.query:
            found.add(
                _require_trusted(request.query if request.query in self._trusted_texts else None)
            )
        if not found:
            raise InvalidInput(
                "documentId must name a trusted document; this server runs no others.",
                argument="documentId",
            )
        if len(found) > 1:
            raise InvalidInput(
                "query, documentId and extensions.persistedQuery name different documents; send one"
                " of them.",
                argument="documentId",
            )
        return found.pop()

    def store(self, request: DocumentRequest, workspace: WorkspaceId) -> None:
        """Nothing: the list is all there is."""


def _require_trusted(text: str | None) -> str:
    if text is None:
        raise DocumentNotTrusted(
            "This server runs trusted documents only, and this is none of them. Send the documentId"
            " of a listed one, or have yours added to the list."
        )
    return text


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class _InvalidManifest(Exception):
    """Says what is wrong with a file of trusted documents; the reader adds its name."""


def _load_manifest(
    texts: dict[str, str], path: Path, schema: Schema, graphql_limits: GraphQLLimits
) -> None:
    """Add the documents of a file by their ids, each once the gate was seen to let it pass."""
    entries = _manifest_entries(_read_json(path))
    if not entries:
        raise _InvalidManifest("lists no document.")
    for number, (document_id, text) in enumerate(entries, start=1):
        if not isinstance(document_id, str) or not document_id or not isinstance(text, str):
            raise _InvalidManifest(
                f"must have an id and a text for each document; number {number} has not."
            )
        if texts.setdefault(document_id, text) != text:
            raise _InvalidManifest(f"gives the id {document_id} to another document than before.")
        _check_entry(document_id, text, schema, graphql_limits)


def _read_json(path: Path) -> object:
    try:
        content: object = orjson.loads(path.read_bytes())
    except OSError as error:
        raise _InvalidManifest(f"cannot be read: {error.strerror}.") from None
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _InvalidManifest(f"is not JSON: {error.msg} at {place}.") from None
    return content


def _manifest_entries(content: object) -> list[tuple[object, object]]:
    """Ids and texts of Apollo's manifest, or of the map that graphql-codegen and Relay write."""
    match content:
        case {"format": "apollo-persisted-query-manifest", "version": 1, "operations": list(found)}:
            operations = (each if isinstance(each, dict) else {} for each in found)
            return [(each.get("id"), each.get("body")) for each in operations]
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
        places = error.locations if isinstance(error, GraphQLError) else None
        place = f" (line {places[0].line}, column {places[0].column})" if places else ""
        raise _InvalidManifest(
            f"has {operation}, with the id {document_id}, that cannot run{place}: {error.message}"
        ) from None


# A text that cannot be parsed has a name as well, for the person who looks for it.
_OPERATION_NAME = re.compile(r"\b(?:query|mutation|subscription)\s+(\w+)")
