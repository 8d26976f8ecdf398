"""People whom a proxy has signed in: what the operator's file grants them, and the key of each workspace.

group_header = "X-Forwarded-Groups"   # only for groups

[users."jane@example.com"]            # a user comes before their groups
workspace = "acme"
scopes = ["read", "write"]

[groups.support]                      # of several groups, the first one in the file counts
workspace = "acme"
scopes = ["read"]
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import uuid5

from app.db.core.database import Database
from app.db.core.write_session import AllWorkspacesWriteSession
from app.db.repositories import api_keys
from app.db.repositories.workspaces import find_workspace_by_name
from app.domain.api_keys import NewApiKey, Scope
from app.domain.errors import InvalidInput, UserNotAllowed
from app.domain.ids import ApiKeyId, SessionId, WorkspaceId
from app.domain.sessions import (
    BOARD_SCOPES,
    MAX_PERSON_LENGTH,
    ProxyIdentity,
    ProxySession,
)
from app.domain.validation.object_reader import ObjectReader
from app.domain.validation.text import MAX_NAME_LENGTH, validate_name
from app.setting_values import is_header_name
from app.settings import Settings, SettingsError

_KEY_NAME = "single sign-on"
_SCOPES = {scope.value: scope for scope in BOARD_SCOPES}


class Grant(NamedTuple):
    """What a user or a group may do, and the path of its entry in the file."""

    entry: str
    workspace: str
    scopes: tuple[Scope, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyGrants:
    """Content of the operator's file."""

    group_header: str | None
    users: Mapping[str, Grant]
    groups: Mapping[str, Grant]

    def find(self, user: str, groups: frozenset[str]) -> Grant | None:
        """Return the grant of the user, or else the first one of a group in the order of the file."""
        if user in self.users:
            return self.users[user]
        return next((grant for name, grant in self.groups.items() if name in groups), None)


class ProxySignIn(NamedTuple):
    """Authenticated person: the digest of the key of their workspace, scopes, and session."""

    key_digest: bytes
    scopes: tuple[Scope, ...]
    session: ProxySession


class ProxyUsers:
    """Grants of the file with the keys of their workspaces.

    A change names the key that caused it, and limits count by key. So people whom a proxy signs in share
    one key of their workspace, without scopes or a secret.
    """

    def __init__(self, file: Path, user_header: str) -> None:
        """Read the file; raises SettingsError, with a sentence, if it is invalid."""
        self.user_header = user_header
        self._file = file
        self._grants = _load_grants(file, user_header)
        self._workspace_ids: dict[str, WorkspaceId] = {}

    @property
    def group_header(self) -> str | None:
        return self._grants.group_header

    async def store_keys(self, database: Database, now: datetime) -> None:
        """Store the key of each workspace; raises SettingsError if one does not exist."""
        for grant in (*self._grants.users.values(), *self._grants.groups.values()):
            if grant.workspace in self._workspace_ids:
                continue
            workspace = await find_workspace_by_name(database.all_workspaces, grant.workspace)
            if workspace is None:
                raise SettingsError(
                    f"BOARD_PROXY_USERS: {self._file} has {grant.entry} with the workspace"
                    f" {grant.workspace}, which does not exist. Correct the name, or create it with"
                    f" 'post-results workspaces create {grant.workspace}'."
                )
            self._workspace_ids[grant.workspace] = workspace.id
        workspace_ids = sorted(self._workspace_ids.values())

        async def work(session: AllWorkspacesWriteSession) -> None:
            for workspace_id in workspace_ids:
                await api_keys.upsert_key(
                    session.in_workspace(workspace_id),
                    ApiKeyId(uuid5(workspace_id, _KEY_NAME)),
                    NewApiKey(token="", digest=_digest(workspace_id), display_prefix=""),
                    name=_KEY_NAME,
                    scopes=(),
                    expires_at=None,
                    now=now,
                )

        await database.write_all_workspaces(work)

    def sign_in(self, identity: ProxyIdentity) -> ProxySignIn:
        """Return the person's access; raises UserNotAllowed, with a sentence, if there is none."""
        user = self._parse_user(identity.user_headers)
        grant = self._grants.find(user, self._parse_groups(identity.group_headers))
        if grant is None:
            raise UserNotAllowed(
                f"{user} has no access to this board: the file of BOARD_PROXY_USERS has neither this user"
                " nor a group of theirs."
            )
        workspace_id = self._workspace_ids[grant.workspace]
        session = ProxySession(id=SessionId(uuid5(workspace_id, user)), person=user)
        return ProxySignIn(_digest(workspace_id), grant.scopes, session)

    def _parse_user(self, headers: tuple[bytes, ...]) -> str:
        user = _decode_single(self.user_header, headers)
        if "," in user:
            raise UserNotAllowed(f"{self.user_header} must name one user, without commas.")
        try:
            return validate_name(user, self.user_header, max_length=MAX_PERSON_LENGTH)
        except InvalidInput as error:
            raise UserNotAllowed(error.message) from None

    def _parse_groups(self, headers: tuple[bytes, ...]) -> frozenset[str]:
        if not headers or self.group_header is None:
            return frozenset()
        names = _decode_single(self.group_header, headers).split(",")
        return frozenset(name.strip() for name in names) - {""}


def open_proxy_users(settings: Settings) -> ProxyUsers | None:
    """Return the users of BOARD_PROXY_USERS; None if no proxy signs people in. Raises SettingsError."""
    if settings.board_proxy_user is None or settings.board_proxy_users is None:
        return None
    return ProxyUsers(settings.board_proxy_users, settings.board_proxy_user)


def _decode_single(name: str, headers: tuple[bytes, ...]) -> str:
    """Return the value of a header that must occur once: a second one could be the client's own."""
    if len(headers) > 1:
        raise UserNotAllowed(
            f"The request has {len(headers)} headers {name}. The proxy must replace that of the client."
        )
    try:
        return headers[0].decode().strip()
    except UnicodeDecodeError:
        raise UserNotAllowed(f"{name} must be text in UTF-8.") from None


def _digest(workspace_id: WorkspaceId) -> bytes:
    """Return a digest that no token has, because it is shorter than a SHA-256 digest."""
    return workspace_id.bytes


def _load_grants(file: Path, user_header: str) -> ProxyGrants:
    """Read the operator's file; raises SettingsError with a sentence."""
    try:
        return _parse_grants(tomllib.loads(file.read_text(encoding="utf-8")), user_header)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}."
    except (ValueError, RecursionError) as error:  # of the encoding or the syntax
        problem = f"is not TOML: {error}."
    except InvalidInput as error:
        problem = f"is invalid: {error.message}"
    raise SettingsError(f"BOARD_PROXY_USERS: {file} {problem}")


def _parse_grants(document: Mapping[str, object], user_header: str) -> ProxyGrants:
    root = ObjectReader(document)
    root.forbid_unknown(("group_header", "users", "groups"))
    group_header = root.string("group_header")
    grants = ProxyGrants(
        group_header=group_header,
        users=_parse_table(root.nested_object("users")),
        groups=_parse_table(root.nested_object("groups")),
    )
    if group_header is not None and not is_header_name(group_header):
        raise root.error("group_header", "must be the name of a header such as X-Forwarded-Groups")
    if group_header is not None and group_header.lower() == user_header.lower():
        raise root.error("group_header", "must not be the header of BOARD_PROXY_USER")
    if grants.groups and group_header is None:
        raise root.error("group_header", "is missing; it names the header with a person's groups")
    if not grants.users and not grants.groups:
        raise InvalidInput('it has no entry; add a table such as [users."jane@example.com"].')
    return grants


def _parse_table(table: ObjectReader) -> dict[str, Grant]:
    return {name: _parse_grant(table.nested_object(name)) for name in table.members}


def _parse_grant(entry: ObjectReader) -> Grant:
    entry.forbid_unknown(("workspace", "scopes"))
    workspace = entry.required_text("workspace", max_length=MAX_NAME_LENGTH)
    scopes = entry.strings("scopes") or []
    if not scopes:
        raise entry.error("scopes", f"must list at least one of {', '.join(_SCOPES)}")
    for scope in scopes:
        if scope not in _SCOPES:
            raise entry.error("scopes", f"has {scope}; each must be one of {', '.join(_SCOPES)}")
    return Grant(entry.path.removesuffix("."), workspace, tuple(_SCOPES[scope] for scope in scopes))
