"""Build hook of Hatchling: builds the GraphiQL page before a wheel or an sdist is packed."""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuildHook(BuildHookInterface):
    """Hatchling loads this class because of its base class."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build the page, except for editable installs, which run `scripts/pages` separately."""
        if version != "editable":
            subprocess.run([Path(self.root, "scripts", "pages")], check=True)  # noqa: S603
