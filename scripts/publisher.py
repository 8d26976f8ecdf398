"""A publisher in a few lines: claims what is due, POSTs it to PUBLISH_URL, reports what came of it."""

import json
import os
import time
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

API = os.environ.get("API_URL", "http://127.0.0.1:8000/graphql")
KEY = {"Authorization": f"Bearer {os.environ['API_KEY']}"}
MUTATION = "mutation($input: {0}Input!) {{ done: {1}(input: $input) {{ {2} }} }}"
CLAIM = "claims { leaseToken postId platform accountName content mediaIds reference }"
CATEGORIES = {400: "CONTENT_REJECTED", 401: "AUTH", 403: "AUTH", 429: "RATE_LIMITED"}


def send(url: str, body: object, headers: dict[str, str]) -> Any:
    headers = {"Content-Type": "application/json", **headers}
    request = Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - yours to choose
    return json.load(urlopen(request, timeout=30))  # noqa: S310


def ask(name: str, given: dict[str, Any], fields: str = "receipt") -> Any:
    query = MUTATION.format(name[0].upper() + name[1:], name, fields)
    while True:  # a report must not get lost: each may be sent again, and counts once
        try:
            answer = send(API, {"query": query, "variables": {"input": given}}, KEY)
        except Exception as error:
            if isinstance(error, HTTPError) and error.code in (400, 401, 403):
                raise
            time.sleep(2)
        else:
            if "errors" in answer:
                raise RuntimeError(answer["errors"][0]["message"])
            return answer["data"]["done"]


def publish(claim: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    try:
        there = send(os.environ["PUBLISH_URL"], claim, {})
        return "reportPublished", {"platformPostId": there["id"], "platformPostUrl": there["url"]}
    except HTTPError as error:
        wait = error.headers.get("Retry-After", "")
        told = {"httpStatus": error.code, "category": CATEGORIES.get(error.code, "TRANSIENT")}
        told |= {"message": str(error), "outcomeUnknown": error.code in (500, 502, 504)}
        return "reportFailed", told | {"retryAfterSeconds": int(wait) if wait.isdigit() else None}
    except Exception as error:  # noqa: BLE001 - no answer: it may be there all the same
        told = {"category": "UNCLASSIFIED", "message": repr(error), "outcomeUnknown": True}
        return "reportFailed", told


while True:
    for claim in ask("claimDestinations", {"limit": 1, "waitSeconds": 20}, CLAIM)["claims"]:
        lease = {"leaseToken": claim["leaseToken"]}
        try:
            ask("startAttempt", lease)  # unless this succeeds, somebody else may publish it
            report, told = publish(claim)
            ask(report, lease | told)
        except RuntimeError as error:
            print(claim["postId"], error)  # noqa: T201
