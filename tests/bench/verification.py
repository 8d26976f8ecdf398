"""That all servers answer the same, before anything is timed. Asks and compares."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.bench.requests import QUESTIONS, ResponseBody
from tests.bench.servers import ContenderProcess, ServerFailed


class ResponseMismatch(Exception):
    """Two servers do not answer the same; the message says which, and where."""


def verify_all(servers: Sequence[ContenderProcess], ids: Sequence[object]) -> Mapping[str, Sequence[bytes]]:
    """Raise Differs unless all answer alike; the first server's bodies, by question.

    A question about a post is asked about each of these. What is new in every answer is left out.
    """
    bodies: dict[str, list[bytes]] = {}
    for question in QUESTIONS:
        asked = [each for each in servers if question in each.contender.requests]
        for server in asked:
            answers = list(_responses(server, question, ids))
            if server is asked[0]:
                bodies[question] = [body for body, _ in answers]
                expected = [answer for _, answer in answers]
            elif (found := [answer for _, answer in answers]) != expected:
                raise ResponseMismatch(
                    f"{server.name} answers {question} not as {asked[0].name}:"
                    f" {_first_difference(expected, found)}"
                )
    return bodies


def normalize_response(response: ResponseBody) -> ResponseBody:
    """Of `meta`, which is new in every answer, only what it has."""
    return {**response, "meta": sorted(response["meta"])} if "meta" in response else response


def _responses(
    server: ContenderProcess, question: str, ids: Sequence[object]
) -> Iterator[tuple[bytes, ResponseBody]]:
    request = server.contender.requests[question]
    for post_id in ids if request.takes_post_id else ids[:1]:
        body = server.send(request.with_post_id(post_id))
        answer = json.loads(body)
        # Two servers that find nothing would be alike.
        if answer.get("errors") or answer.get("error") or b"latform" not in body:
            raise ServerFailed(f"{server.name} answers {question} with {body[:500]!r}")
        yield body, normalize_response(server.contender.normalize(answer))


def _first_difference(expected: Any, actual: Any, path: str = "") -> str:
    """Where they first part, and what stands there."""
    if isinstance(expected, dict) and isinstance(actual, dict) and expected.keys() == actual.keys():
        pairs = [(key, expected[key], actual[key]) for key in expected]
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = [(str(n), *both) for n, both in enumerate(zip(expected, actual, strict=True))]
    else:
        return f"at {path} {json.dumps(actual)[:300]} instead of {json.dumps(expected)[:300]}"
    key, one, other = next(each for each in pairs if each[1] != each[2])
    return _first_difference(one, other, f"{path}.{key}")
