"""The README as tests read it: its sections, and the code in them."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def readme_section(title: str) -> str:
    """What stands under a heading, down to the next heading of its level or above."""
    heading = re.search(rf"^(##+) {re.escape(title)}\n", README, re.MULTILINE)
    assert heading is not None, title
    rest = README[heading.end() :]
    return re.split(rf"^#{{2,{len(heading[1])}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def code_blocks(language: str, text: str = README) -> list[str]:
    """The code of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
