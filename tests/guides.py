"""README and guides as tests read them: text, sections, code blocks, headings, links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
GUIDES = ROOT / "app" / "docs"

_FENCED_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE_CODE = re.compile(r"`[^`\n]*`")
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced code block."""

    language: str
    code: str


@dataclass(frozen=True, slots=True)
class Guide:
    """A Markdown file, or one section of it."""

    path: Path
    text: str

    def section(self, title: str) -> "Guide":
        """The part under a heading, up to the next heading of the same or a higher level."""
        heading = re.search(rf"^(##+) {re.escape(title)}\n", self.text, re.MULTILINE)
        assert heading is not None, f"{self.path} has no section {title!r}"
        rest = self.text[heading.end() :]
        end = re.search(rf"^#{{1,{len(heading[1])}}} ", _without_code(rest), re.MULTILINE)
        return Guide(self.path, rest if end is None else rest[: end.start()])

    def all_blocks(self) -> list[Block]:
        return [Block(*found) for found in _FENCED_BLOCK.findall(self.text)]

    def blocks(self, language: str) -> list[str]:
        return [block.code for block in self.all_blocks() if block.language == language]

    def block(self, language: str) -> str:
        """The only block of a language."""
        (code,) = self.blocks(language)
        return code

    def headings(self) -> list[tuple[int, str]]:
        """Level and title of each heading."""
        return [(len(level), title) for level, title in _HEADING.findall(_without_code(self.text))]

    def anchors(self) -> set[str]:
        """The fragments by which links address the headings, as GitHub derives them."""
        return {_slug(title) for _, title in self.headings()}

    def links(self) -> Iterator[str]:
        """Targets of links and images that are relative to the file."""
        for target in _LINK.findall(_INLINE_CODE.sub("", _without_code(self.text))):
            if not re.match(r"[a-z]+:", target):
                yield target

    def table_rows(self, first_header: str) -> list[list[str]]:
        """The cells of the table whose first column has this header."""
        lines = self.text.splitlines()
        start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_header} |"))
        rows = []
        for line in lines[start + 2 :]:
            if not line.startswith("|"):
                break
            rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
        return rows


def code_spans(text: str) -> list[str]:
    """The texts in backticks."""
    return [span.strip("`") for span in _INLINE_CODE.findall(text)]


def _without_code(text: str) -> str:
    """The text with the same offsets, and blanks in place of fenced blocks."""
    return _FENCED_BLOCK.sub(lambda block: " " * len(block[0]), text)


def _slug(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _read(path: Path) -> Guide:
    return Guide(path, path.read_text())


def guide(name: str) -> Guide:
    """A guide by the name of its file, without the suffix."""
    return _read(GUIDES / f"{name}.md")


README = _read(ROOT / "README.md")
ALL_GUIDES = [_read(path) for path in sorted(GUIDES.glob("*.md"))]
SCRIPTS_README = _read(ROOT / "scripts" / "README.md")
EVERYTHING = [README, *ALL_GUIDES, SCRIPTS_README]
