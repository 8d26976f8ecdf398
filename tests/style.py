"""Checks words and names of the repository: no replaced words, no name used for two things.

`python -m tests.style` prints one line per finding and exits with 1 if there is any.
"""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

REPLACED_WORDS = (
    "anew",
    "betrays",
    "by itself",
    "door",
    "doors",
    "errand",
    "errands",
    "farewell",
    "forget",
    "forgets",
    "forgotten",
    "make room",
    "nobody",
    "not any more",
    "so long as it",
    "somebody",
    "take its place",
    "take the place",
    "takes its place",
    "takes the place",
    "tell",
    "telling",
    "tells",
    "told",
    "what became of",
    "whoever",
    "wish",
    "wishes",
)
"""Words and phrases that a reader cannot look up in the sense in which they were once used here."""

CHECKED_SUFFIXES = {
    "",
    ".css",
    ".graphql",
    ".html",
    ".js",
    ".json",
    ".lua",
    ".md",
    ".mjs",
    ".py",
    ".sh",
    ".toml",
    ".ts",
    ".tsx",
}
GENERATED = ("package-lock.json",)

ALLOWED_WORDS: dict[tuple[str, str], str] = {
    ("tests/style.py", "*"): "the list itself",
    ("tests/test_style.py", "*"): "examples of what the check finds",
    ("app/cli_import_export.py", "tell"): "method of Python's file objects",
}
"""(path, word) → why the word may stand there; `*` allows every word of the file."""

MODEL_NOUNS = frozenset(
    {
        "Account",
        "Attempt",
        "Destination",
        "Event",
        "IdempotencyKey",
        "Post",
        "Webhook",
        "WebhookDelivery",
        "WebhookDeliveryAttempt",
        "Workspace",
    }
)
"""Nouns of the model, which name the same thing in several layers."""

ALLOWED_NAMES: dict[str, str] = {"upgrade": "Alembic calls it in each migration"}
"""Name of a class or function → why it is defined more than once."""

_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_")
_REPLACED = re.compile(r"\b(" + "|".join(map(re.escape, REPLACED_WORDS)) + r")\b")


def words_in(line: str) -> str:
    """Split identifiers into their words: `tell_of` and `TellOf` both become `tell of`."""
    return " ".join(_WORD_BOUNDARY.sub(" ", line).lower().split())


def replaced_words(text: str) -> Iterator[tuple[int, str]]:
    """Each replaced word of a text, with its line number. A phrase may span two lines."""
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        words = words_in(line)
        for match in _REPLACED.finditer(words):
            yield number, match[1]
        if number < len(lines):
            yield from (
                (number, match[1])
                for match in _REPLACED.finditer(f"{words} {words_in(lines[number]).lstrip('# ')}")
                if match.start() < len(words) < match.end()
            )


def tracked_files(root: Path = ROOT) -> list[str]:
    """Paths of the files that Git tracks, relative to the repository."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True, text=True
    )
    return [path for path in listing.stdout.split("\0") if path and (root / path).is_file()]


def word_findings(root: Path, paths: list[str]) -> Iterator[str]:
    """One line for each replaced word in the given files and in their paths."""
    for path in paths:
        if Path(path).suffix not in CHECKED_SUFFIXES or path.endswith(GENERATED):
            continue
        found = [(0, match[1]) for match in _REPLACED.finditer(words_in(path.replace("/", " ")))]
        try:
            found.extend(replaced_words((root / path).read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
        for line, word in found:
            if not {(path, word), (path, "*")} & ALLOWED_WORDS.keys():
                yield f"{path}:{line}: replace {word!r} by a standard term"


def name_findings(root: Path, paths: list[str]) -> Iterator[str]:
    """One line for each public class, or public function of one package, that is defined twice."""
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in paths:
        if not (path.startswith("app/") and path.endswith(".py")):
            continue
        package = path.split("/")[1].removesuffix(".py")
        for node in ast.parse((root / path).read_text(encoding="utf-8")).body:
            place = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.ClassDef):
                places["class", node.name].append(place)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                places[f"function of app.{package}", node.name].append(place)
    for (kind, name), defined in places.items():
        if name.startswith("_") or name in MODEL_NOUNS or name in ALLOWED_NAMES:
            continue
        if len(defined) > 1:
            yield f"{defined[1]}: {kind} {name} is also defined at {defined[0]}"


def main() -> int:
    """Print every finding; 1 if there is one."""
    paths = tracked_files()
    findings = [*word_findings(ROOT, paths), *name_findings(ROOT, paths)]
    print(*findings, sep="\n" if findings else "")  # noqa: T201
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
