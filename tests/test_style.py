"""The style check finds replaced words and names that are used twice, and nothing else."""

from pathlib import Path

import pytest

from tests.style import name_findings, replaced_words, word_findings


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("def tell_of(x): ...", "tell"),
        ("class ToldAnew: ...", "told"),
        ("HTTPDoor = 1", "door"),
        ("# Nobody else changes it.", "nobody"),
        ("It is retried by itself.", "by itself"),
        ("self._make_room_for_one()", "make room"),
        ("what\n    became of a report", "what became of"),
        ('"""Not\n# any more."""', "not any more"),
    ],
)
def test_replaced_word_is_found_in_identifiers_and_prose(text: str, word: str) -> None:
    assert [found for _, found in replaced_words(text)][:1] == [word]


@pytest.mark.parametrize(
    "text", ["outdoors", "intelligent", "storytelling_", "a wishlist", "doorbell"]
)
def test_word_inside_a_longer_word_is_not_found(text: str) -> None:
    assert list(replaced_words(text)) == []


def test_finding_names_file_line_and_word(tmp_path: Path) -> None:
    (tmp_path / "guide.md").write_text("One line.\nSomebody else.\n")
    (tmp_path / "picture.png").write_bytes(b"\xff told")
    assert list(word_findings(tmp_path, ["guide.md", "picture.png"])) == [
        "guide.md:2: replace 'somebody' by a standard term"
    ]


def test_class_names_are_unique_in_the_app_and_function_names_in_a_package(tmp_path: Path) -> None:
    files = {
        "app/db/one.py": "class Part: ...\nclass Post: ...\ndef read(): ...\ndef _read(): ...",
        "app/db/two.py": "def read(): ...\ndef _read(): ...",
        "app/rest/three.py": "class Part: ...\nclass Post: ...\ndef read(): ...",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert list(name_findings(tmp_path, list(files))) == [
        "app/rest/three.py:1: class Part is also defined at app/db/one.py:1",
        "app/db/two.py:1: function of app.db read is also defined at app/db/one.py:3",
    ]
