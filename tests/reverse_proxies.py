"""nginx and HAProxy in front of a server of the tests, with the configurations of the guide."""

import asyncio
import os
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.guides import guide
from tests.http.protocol_server import RawConnection
from tests.servers import TIMEOUT_SECONDS, unused_port

HOST = "results.example.com"
PROXIES = ("nginx", "haproxy")
AUTHORITY = trustme.CA()

_NGINX = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""

_SIGN_IN = """
    location = /internal/authelia/authz {{
        internal;
        proxy_pass http://127.0.0.1:{port};
    }}
"""


@dataclass(frozen=True, slots=True)
class ReverseProxy:
    """A running proxy, which terminates TLS as HOST."""

    port: int

    @property
    def authority(self) -> str:
        """Host and port, as a client sends them."""
        return f"{HOST}:{self.port}"

    @property
    def tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        AUTHORITY.configure_trust(context)
        return context

    async def open(self) -> RawConnection:
        """Open a connection for raw bytes."""
        return RawConnection(
            *await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=self.tls, server_hostname=HOST
            )
        )


@asynccontextmanager
async def run_proxy(
    program: str, upstream_port: int, sign_in_port: int | None = None
) -> AsyncIterator[ReverseProxy]:
    """Start a proxy as in the guide, with other ports and files.

    With a `sign_in_port`, nginx asks the server there who sends each request.
    """
    executable = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if executable is None:
        pytest.skip(f"{program} is not installed; run scripts/clients.")
    port = unused_port()
    with tempfile.TemporaryDirectory(prefix="post-results-proxy-") as name:
        folder = Path(name)
        certificate = folder / "certificate.pem"
        AUTHORITY.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(certificate)
        configuration = guide("operating").section("Reverse proxy").block(program)
        for old, new in (
            ("listen 443 ", f"listen 127.0.0.1:{port} "),
            ("bind :443 ", f"bind 127.0.0.1:{port} "),
            ("127.0.0.1:8000", f"127.0.0.1:{upstream_port}"),
            (f"/etc/ssl/certs/{HOST}.pem", str(certificate)),
            (f"/etc/ssl/private/{HOST}.key", str(certificate)),
            (f"/etc/ssl/private/{HOST}.pem", str(certificate)),
        ):
            configuration = configuration.replace(old, new)
        if sign_in_port is not None:
            lines = guide("sso").section("Proxies").block("nginx")
            sign_in = _SIGN_IN.format(port=sign_in_port)
            configuration = configuration.replace(
                "    location / {\n", f"{sign_in}    location / {{\n{lines}"
            )
        if program == "nginx":
            user = "user root;" if os.getuid() == 0 else ""
            configuration = _NGINX.format(user=user, folder=folder, site=configuration)
        file = folder / "proxy.conf"
        file.write_text(configuration)
        arguments = ("-c", file) if program == "nginx" else ("-db", "-f", file)
        process = await asyncio.create_subprocess_exec(executable, *arguments)
        try:
            await _wait_until_listening(port, process)
            yield ReverseProxy(port)
        finally:
            process.terminate()  # nginx ends its workers
            await process.wait()


async def _wait_until_listening(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            with suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            assert process.returncode is None
            await asyncio.sleep(0.01)
