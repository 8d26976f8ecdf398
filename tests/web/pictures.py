"""Takes the pictures of the board in the guides, from a server with the demo data."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
from playwright.async_api import Page, ViewportSize, expect

from tests.servers import DEMO_POST, ServerProcess, run_server
from tests.web.chromium import open_chromium

FOLDER = Path("app/docs/images")
MAX_BYTES = 200_000
SIZE = ViewportSize(width=1280, height=900)
PICTURES = {
    "today": "",
    "post": f"/posts/{DEMO_POST}",
    "failures": "/failures",
    "numbers": "/numbers",
}
"""Name of each picture, and its path below the board."""


async def take_pictures(server: ServerProcess) -> None:
    async with _signed_in_page(server) as page:
        for name, path in PICTURES.items():
            await page.goto(f"{server.url}/board{path}")
            await expect(page.locator(".connection")).to_contain_text("Live")
            await expect(page.locator(".skeleton")).to_have_count(0)
            file = FOLDER / f"board-{name}.png"
            await page.screenshot(path=file)
            size = file.stat().st_size
            click.echo(f"{file}: {size:,} bytes")
            if size > MAX_BYTES:
                raise click.ClickException(f"{file} has more than {MAX_BYTES:,} bytes.")


@asynccontextmanager
async def _signed_in_page(server: ServerProcess) -> AsyncIterator[Page]:
    async with open_chromium() as browser:
        page = await browser.new_page(viewport=SIZE, color_scheme="light", timezone_id="UTC")
        await page.goto(f"{server.url}/board")
        await page.get_by_role("button", name="Open the demo").click()
        await expect(page.get_by_role("heading", name="Today", exact=True)).to_be_visible()
        yield page


@click.command()
def main() -> None:
    """Write each picture, and fail if one is too large for the repository."""
    with tempfile.TemporaryDirectory() as name:
        settings = {"DATABASE_URL": f"sqlite:///{name}/demo.db", "RATE_LIMIT": "off"}
        with run_server(Path(name), settings, "--demo") as server:
            asyncio.run(take_pictures(server))


if __name__ == "__main__":
    main()
