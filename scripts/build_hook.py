"""What a wheel or an sdist needs before it is packed: the GraphiQL page. Not for editable installs."""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuildHook(BuildHookInterface):
    """Hatchling finds it by its base class."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build the page, unless people run the package from the tree itself."""
        if version != "editable":
            subprocess.run([Path(self.root, "scripts", "explorer")], check=True)  # noqa: S603
