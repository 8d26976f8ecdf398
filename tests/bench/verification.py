"""That all servers answer the same, before anything is timed. Asks and compares."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.bench.requests import QUESTIONS, Answer
from tests.bench.servers import Server, ServerFailed


class Differs(Exception):
    """Two servers do not answer the same; the message says which, and where."""


def ask_all(servers: Sequence[Server], ids: Sequence[object]) -> Mapping[str, Sequence[bytes]]:
    """Raise Differs unless all answer alike; the first server's bodies, by question.

    A question about a post is asked about each of these. What is new in every answer is left out.
    """
    bodies: dict[str, list[bytes]] = {}
    for question in QUESTIONS:
        asked = [each for each in servers if question in each.contender.requests]
        for server in asked:
            answers = list(_answers(server, question, ids))
            if server is asked[0]:
                bodies[question] = [body for body, _ in answers]
                expected = [answer for _, answer in answers]
            elif (found := [answer for _, answer in answers]) != expected:
                raise Differs(
                    f"{server.name} answers {question} not as {asked[0].name}:"
                    f" {_difference(expected, found)}"
                )
    return bodies


def comparable(answer: Answer) -> Answer:
    """Of `meta`, which is new in every answer, only what it has."""
    return {**answer, "meta": sorted(answer["meta"])} if "meta" in answer else answer


def _answers(
    server: Server, question: str, ids: Sequence[object]
) -> Iterator[tuple[bytes, Answer]]:
    request = server.contender.requests[question]
    for post_id in ids if request.is_of_a_post else ids[:1]:
        body = server.ask(request.of_post(post_id))
        answer = json.loads(body)
        # Two servers that find nothing would be alike.
        if answer.get("errors") or answer.get("error") or b"latform" not in body:
            raise ServerFailed(f"{server.name} answers {question} with {body[:500]!r}")
        yield body, comparable(server.contender.reshaped(answer))


def _difference(wanted: Any, found: Any, path: str = "") -> str:
    """Where they first part, and what stands there."""
    if isinstance(wanted, dict) and isinstance(found, dict) and wanted.keys() == found.keys():
        pairs = [(key, wanted[key], found[key]) for key in wanted]
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = [(str(n), *both) for n, both in enumerate(zip(wanted, found, strict=True))]
    else:
        return f"at {path} {json.dumps(found)[:300]} instead of {json.dumps(wanted)[:300]}"
    key, one, other = next(each for each in pairs if each[1] != each[2])
    return _difference(one, other, f"{path}.{key}")
