"""The file of BOARD_PROXY_USERS: its errors, and what it grants to users and groups."""

from pathlib import Path

import pytest

from app.db.core.database import Database
from app.db.repositories.api_keys import list_keys
from app.domain.api_keys import Scope
from app.domain.errors import InvalidApiKey, UserNotAllowed
from app.domain.sessions import ProxyIdentity
from app.services.api_keys import ApiKeyAuthenticator, revoke_key
from app.services.proxy_users import ProxyUsers
from app.settings import SettingsError
from tests.factories import NOW, add_workspace
from tests.guides import guide

USER_HEADER = "X-Forwarded-User"
FILE = """
group_header = "X-Forwarded-Groups"

[users."jane@example.com"]
workspace = "acme"
scopes = ["read", "write"]

[users.raw]
workspace = "beta"
scopes = ["raw", "admin"]

[groups.support]
workspace = "acme"
scopes = ["read"]

[groups.sales]
workspace = "beta"
scopes = ["read"]
"""


def open_users(folder: Path, content: str | bytes) -> ProxyUsers:
    file = folder / "users.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ProxyUsers(file, USER_HEADER)


def start_error(folder: Path, content: str | bytes) -> str:
    with pytest.raises(SettingsError) as caught:
        open_users(folder, content)
    start = f"BOARD_PROXY_USERS: {folder / 'users.toml'} "
    message = str(caught.value)
    assert message.startswith(start)
    return message.removeprefix(start)


JANE = '[users."jane@example.com"]\n'
GRANT = 'workspace = "acme"\nscopes = ["read"]\n'
CHOICES = "read, write, admin, raw"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", 'is invalid: it has no entry; add a table such as [users."jane@example.com"].'),
        ("[users]\n[groups]", "is invalid: it has no entry; add a table such as"),
        (
            "user = 1",
            "is invalid: user is unknown; there is group_header, users, groups; the nearest is users.",
        ),
        ("users = 1", "is invalid: users must be a table."),
        ("[users]\njane = 1", "is invalid: users.jane must be a table."),
        (JANE + 'scopes = ["read"]', "is invalid: users.jane@example.com.workspace is missing."),
        (
            JANE + 'workspace = ["a"]',
            "is invalid: users.jane@example.com.workspace must be a string.",
        ),
        (
            JANE + GRANT + "scope = 1",
            "is invalid: users.jane@example.com.scope is unknown; there is workspace, scopes; the nearest is"
            " scopes.",
        ),
        *(
            (
                f'[groups.dev]\nworkspace = "acme"\n{scopes}',
                f"is invalid: groups.dev.scopes must list at least one of {CHOICES}.",
            )
            for scopes in ("", "scopes = []")
        ),
        (
            '[groups.dev]\nworkspace = "acme"\nscopes = "read"',
            "is invalid: groups.dev.scopes must be a list.",
        ),
        *(
            (
                f'[groups.dev]\nworkspace = "acme"\nscopes = ["read", "{scope}"]',
                f"is invalid: groups.dev.scopes has {scope}; each must be one of {CHOICES}.",
            )
            for scope in ("publish", "publish:all", "READ")
        ),
        (
            f"[groups.dev]\n{GRANT}",
            "is invalid: group_header is missing; it names the header with a person's groups.",
        ),
        *(
            (
                f'group_header = "{header}"\n{JANE}{GRANT}',
                "is invalid: group_header must be the name of a header such as X-Forwarded-Groups.",
            )
            for header in ("", "a b", "X-Grüppe", "X:")
        ),
        (
            f'group_header = "x-forwarded-user"\n{JANE}{GRANT}',
            "is invalid: group_header must not be the header of BOARD_PROXY_USER.",
        ),
        ("[users", "is not TOML: "),
        (b"\xff", "is not TOML: "),
    ],
)
def test_invalid_file_prevents_the_start(
    tmp_path: Path, content: str | bytes, problem: str
) -> None:
    assert start_error(tmp_path, content).startswith(problem)


def test_unreadable_file_prevents_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        ProxyUsers(tmp_path / "none.toml", USER_HEADER)
    assert str(caught.value) == (
        f"BOARD_PROXY_USERS: {tmp_path / 'none.toml'} cannot be read: No such file or directory."
    )


def test_example_of_the_guide_is_valid(tmp_path: Path) -> None:
    users = open_users(tmp_path, guide("sso").block("toml"))
    assert users.group_header == "X-Forwarded-Groups"


async def test_unknown_workspace_prevents_the_start(database: Database, tmp_path: Path) -> None:
    await add_workspace(database, name="acme")
    users = open_users(tmp_path, FILE)
    with pytest.raises(SettingsError) as caught:
        await users.store_keys(database, NOW)
    assert str(caught.value) == (
        f"BOARD_PROXY_USERS: {tmp_path / 'users.toml'} has users.raw with the workspace beta, which does"
        " not exist. Correct the name, or create it with 'post-results workspaces create beta'."
    )
    assert await list_keys(database.all_workspaces) == []


class SignIns:
    """An authenticator with the users of FILE in two workspaces."""

    def __init__(self, database: Database, users: ProxyUsers) -> None:
        self._authenticator = ApiKeyAuthenticator(
            database, prefix="pe_live_", monotonic=lambda: 0, proxy_users=users
        )

    async def sign_in(
        self, user: str, groups: str | None = None
    ) -> tuple[str, tuple[Scope, ...], str]:
        """Return workspace, scopes and person."""
        group_headers = () if groups is None else (groups.encode(),)
        identity = ProxyIdentity((user.encode(),), group_headers)
        viewer = await self._authenticator.authenticate(identity, NOW)
        assert viewer.session is not None
        assert viewer.session.expires_at is None
        return viewer.workspace_name, viewer.scopes, viewer.session.person or ""

    async def refusal(self, *headers: bytes, groups: tuple[bytes, ...] = ()) -> str:
        with pytest.raises(UserNotAllowed) as caught:
            await self._authenticator.authenticate(ProxyIdentity(headers, groups), NOW)
        return caught.value.message


@pytest.fixture
async def sign_ins(database: Database, tmp_path: Path) -> SignIns:
    for name in ("acme", "beta"):
        await add_workspace(database, name=name)
    users = open_users(tmp_path, FILE)
    await users.store_keys(database, NOW)
    return SignIns(database, users)


@pytest.mark.parametrize(
    ("user", "groups", "workspace", "scopes"),
    [
        ("jane@example.com", None, "acme", (Scope.READ, Scope.WRITE)),
        ("raw", "", "beta", (Scope.RAW, Scope.ADMIN)),
        ("jane@example.com", "sales", "acme", (Scope.READ, Scope.WRITE)),
        ("Ann Ü", "support", "acme", (Scope.READ,)),
        ("ann", "dev, sales ,x", "beta", (Scope.READ,)),
        ("ann", "sales,support", "acme", (Scope.READ,)),
    ],
)
async def test_user_comes_before_groups_and_groups_in_the_order_of_the_file(
    sign_ins: SignIns, user: str, groups: str | None, workspace: str, scopes: tuple[Scope, ...]
) -> None:
    assert await sign_ins.sign_in(user, groups) == (workspace, scopes, user)


@pytest.mark.parametrize("groups", [(), (b"",), (b"dev",), (b"Support",)])
async def test_other_users_are_refused(sign_ins: SignIns, groups: tuple[bytes, ...]) -> None:
    assert await sign_ins.refusal(b"ann", groups=groups) == (
        "ann has no access to this board: the file of BOARD_PROXY_USERS has neither this user nor a group"
        " of theirs."
    )


@pytest.mark.parametrize(
    ("users", "groups", "message"),
    [
        (
            (b"raw", b"jane@example.com"),
            (),
            "The request has 2 headers X-Forwarded-User. The proxy must replace that of the client.",
        ),
        (
            (b"", b"raw"),
            (),
            "The request has 2 headers X-Forwarded-User. The proxy must replace that of the client.",
        ),
        (
            (b"ann",),
            (b"support", b"sales"),
            "The request has 2 headers X-Forwarded-Groups. The proxy must replace that of the client.",
        ),
        (
            (b"ann, raw",),
            (b"support",),
            "X-Forwarded-User must name one user, without commas.",
        ),
        ((b"\xff",), (b"support",), "X-Forwarded-User must be text in UTF-8."),
        ((b"ann",), (b"\xff",), "X-Forwarded-Groups must be text in UTF-8."),
        (
            (b"a" * 101,),
            (b"support",),
            "X-Forwarded-User is 101 characters long; at most 100 are allowed.",
        ),
        ((b" \t ",), (b"support",), "X-Forwarded-User must be printable and not empty."),
        (
            ("a\u202eb".encode(),),
            (b"support",),
            "X-Forwarded-User must be printable and not empty.",
        ),
    ],
)
async def test_ambiguous_and_hostile_headers_are_refused(
    sign_ins: SignIns, users: tuple[bytes, ...], groups: tuple[bytes, ...], message: str
) -> None:
    assert await sign_ins.refusal(*users, groups=groups) == message


async def test_no_group_is_not_the_group_without_a_name(database: Database, tmp_path: Path) -> None:
    await add_workspace(database, name="acme")
    users = open_users(tmp_path, f'group_header = "X-Groups"\n[groups.""]\n{GRANT}')
    await users.store_keys(database, NOW)
    for groups in (b"", b" , "):
        with pytest.raises(UserNotAllowed):
            users.sign_in(ProxyIdentity((b"ann",), (groups,)))


async def test_keys_are_stored_once_without_scopes_and_cannot_be_used_as_tokens(
    database: Database, tmp_path: Path
) -> None:
    acme = await add_workspace(database, name="acme")
    users = open_users(tmp_path, JANE + GRANT)
    for _ in range(2):
        await users.store_keys(database, NOW)
    (key,) = await list_keys(database.all_workspaces)
    assert (key.workspace_id, key.name, key.display_prefix, list(key.scopes)) == (
        acme,
        "single sign-on",
        "",
        [],
    )
    authenticator = ApiKeyAuthenticator(
        database, prefix="pe_live_", monotonic=lambda: 0, proxy_users=users
    )
    await authenticator.authenticate(ProxyIdentity((b"jane@example.com",), ()), NOW)
    for token in ("", "single sign-on", acme.hex, acme.bytes.decode("latin-1")):
        with pytest.raises(InvalidApiKey):
            await authenticator.authenticate(token, NOW)


async def test_revoked_key_refuses_everyone_until_the_next_start(
    database: Database, tmp_path: Path
) -> None:
    await add_workspace(database, name="acme")
    users = open_users(tmp_path, JANE + GRANT)
    identity = ProxyIdentity((b"jane@example.com",), ())
    await users.store_keys(database, NOW)
    (key,) = await list_keys(database.all_workspaces)
    await revoke_key(database, key.id, now=NOW)
    authenticator = ApiKeyAuthenticator(
        database, prefix="pe_live_", monotonic=lambda: 0, proxy_users=users
    )
    with pytest.raises(InvalidApiKey):
        await authenticator.authenticate(identity, NOW)
    await users.store_keys(database, NOW)
    assert (await authenticator.authenticate(identity, NOW)).key_id == key.id
