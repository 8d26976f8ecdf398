"""A browser that shows the board: sends its cookie and the origin of its page."""

import re
from typing import Any

import httpx

from tests.clients import Client

ORIGIN = "http://test"
COOKIE_NAME = "post-results-fvcqplwi"
"""Name with the secret key of the test databases."""

_SET_COOKIE = re.compile(
    rf"({COOKIE_NAME}=[0-9a-f]{{64}}); Path=/; Max-Age=604800; HttpOnly; SameSite=Strict"
)


class Browser:
    """A page of the board, with a cookie once it has signed in."""

    def __init__(self, client: Client, *, origin: str = ORIGIN) -> None:
        self._client = client.with_token(None)
        self.headers = {"Origin": origin}

    @property
    def cookie(self) -> str:
        """Name and value of the cookie."""
        return self.headers["Cookie"]

    def lower_case_headers(self) -> dict[str, str]:
        """Headers of the handshake of a WebSocket."""
        return {name.lower(): value for name, value in self.headers.items()}

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        return await self._client.request(method, path, headers=headers, **options)

    async def post_session(self, **body: Any) -> httpx.Response:
        """Send a sign-in, and store nothing."""
        return await self.request("POST", "/board/session", json=body)

    async def sign_in(self, key: str, **body: Any) -> dict[str, Any]:
        """Sign in, store the cookie, and return the data of the response."""
        response = await self.post_session(key=key, **body)
        assert response.status_code == 200, response.text
        match = _SET_COOKIE.fullmatch(response.headers["Set-Cookie"])
        assert match is not None, response.headers["Set-Cookie"]
        self.headers["Cookie"] = match[1]
        data: dict[str, Any] = response.json()["data"]
        return data

    async def sign_out(self, query: str = "") -> httpx.Response:
        return await self.request("DELETE", f"/board/session{query}")

    async def post_graphql(self, query: str = "{ viewer { scopes } }", **options: Any) -> Any:
        """Execute a document by the session, and return the body of the response."""
        response = await self.request("POST", "/graphql", json={"query": query}, **options)
        return response.json()

    async def is_signed_in(self) -> bool:
        """Return whether a document is executed; any refusal must be INVALID_API_KEY."""
        body = await self.post_graphql()
        if "errors" in body:
            assert body["errors"][0]["extensions"]["code"] == "INVALID_API_KEY"
        return "errors" not in body
