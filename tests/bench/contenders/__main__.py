"""Serves one contender on PORT like the post-results server: `python -m tests.bench.contenders NAME`."""

import importlib
import os
import sys

import uvicorn

_BACKLOG = 2048

if __name__ == "__main__":
    module = importlib.import_module(f"tests.bench.contenders.{sys.argv[1]}")
    uvicorn.run(
        module.app,
        port=int(os.environ["PORT"]),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
    )
