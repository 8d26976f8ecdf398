"""What the demo posts say: combined phrases about nobody's business in particular."""

from random import Random

_OPENINGS = (
    "New on the blog:",
    "This week:",
    "Behind the scenes:",
    "Just in:",
    "Good to know:",
    "Coming soon:",
    "From the workshop:",
    "A small update:",
    "Back by request:",
    "Save this one:",
)

_SUBJECTS = (
    "five ways to plan a calmer week",
    "how we pick the colours for the season",
    "what a good morning routine looks like",
    "the tools that we would buy again",
    "three mistakes that we made so that you need not",
    "a tour of the new studio",
    "our guide to the first hundred days",
    "what changed since last spring",
    "the checklist that we use before every launch",
    "ten minutes with the people who pack the parcels",
    "how to write a headline that says something",
    "the story of a product that nearly was not",
    "why we answer every letter",
    "what our customers cook on Sundays",
    "the quiet half of good design",
    "a simple budget for a small team",
    "how to photograph things at home",
    "the best questions from the last live session",
    "notes from a week without meetings",
    "what is in the box, piece by piece",
    "a reading list for long evenings",
    "the recipe that everybody asked for",
)

_ENDINGS = (
    "Link in the profile.",
    "What would you add?",
    "Tell us in the comments.",
    "Read on and tell a friend.",
    "Which one is yours?",
    "More tomorrow.",
    "Registration is open until Friday.",
    "It takes four minutes.",
    "Happy to answer questions.",
    "#smallbusiness #planning",
    "#behindthescenes",
    "",
)

_LONG_SENTENCE = "Every word of this text was counted, so that it ends exactly where it has to. "


def draw_content(rng: Random) -> str:
    return " ".join(
        filter(None, (rng.choice(_OPENINGS), rng.choice(_SUBJECTS) + ".", rng.choice(_ENDINGS)))
    )


def text_of_length(length: int, opening: str) -> str:
    """A text of exactly so many code points that starts with the opening."""
    text = opening + _LONG_SENTENCE * (length // len(_LONG_SENTENCE) + 1)
    return text[: length - 1] + "."
