"""Upper limit of any ASGI server: responds with fixed bodies of realistic size.

FIXED_BODIES is the folder with one file per query.
"""

import os
from pathlib import Path

from tests.bench.contenders.minimal_asgi import make_asgi_app

_FOLDER = Path(os.environ["FIXED_BODIES"])
_BODIES = {file.stem: file.read_bytes() for file in _FOLDER.iterdir()}


async def _respond(path: str, body: bytes) -> bytes:
    if path != "/graphql":
        return _BODIES["R1"]
    if b'"n":' not in body:
        return _BODIES["Q1"]
    return _BODIES["Q3" if b'"n":100' in body else "Q2"]


async def _start() -> None:
    pass


app = make_asgi_app(_respond, on_startup=_start)
