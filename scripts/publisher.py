"""A publisher in a few lines: claims what is due, POSTs it to PUBLISH_URL, reports what came of it."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from socket import gaierror
from urllib.request import HTTPRedirectHandler, Request, urlopen

API = os.environ.get("API_URL", "http://127.0.0.1:8000/graphql")
JSON = {"Content-Type": "application/json"}
KEY = {"Authorization": f"Bearer {os.environ['API_KEY']}"}
CALL = int(os.environ.get("CALL_SECONDS", "100"))  # what PUBLISH_URL may take for the whole answer
WISH = {"limit": 1, "leaseSeconds": CALL + 200, "waitSeconds": 20}
CLAIM = "claims { leaseToken destinationId postId platform accountName content mediaIds reference }"
AGAIN = {"SERVICE_UNAVAILABLE", "INTERNAL_ERROR", "RATE_LIMIT_EXCEEDED"}  # as HTTP 200, mostly
AGAIN |= {0, 408, 429, *range(500, 600)}  # no answer, or one of whoever stands before the server
NOT_THERE = {503, *range(400, 500)} - {408, 409}  # any other status leaves open whether it is
CATEGORIES = {400: "CONTENT_REJECTED", 401: "AUTH", 403: "AUTH", 429: "RATE_LIMITED"}
UNKNOWN = {"category": "UNCLASSIFIED", "message": "No usable answer.", "outcomeUnknown": True}
HTTPRedirectHandler.redirect_request = lambda *_: None  # nobody else can answer for a POST


def send(url: str, body: object, headers: dict, seconds: float) -> dict:
    call = Request(url, json.dumps(body).encode(), JSON | headers)  # noqa: S310
    answer = ThreadPoolExecutor(1).submit(lambda: urlopen(call, timeout=30).read())  # noqa: S310
    return json.loads(answer.result(seconds), parse_int=str)  # 30 s are for each read, this for all


def ask(name: str, given: dict, fields: str = "receipt") -> dict:
    kind = f"{name[0].upper()}{name[1:]}Input"
    query = f"mutation($input: {kind}!) {{ done: {name}(input: $input) {{ {fields} }} }}"
    while True:  # a report must not get lost: each call may be sent again, and counts once
        code, wait = 0, 2
        try:
            answer = send(API, {"query": query, "variables": {"input": given}}, KEY, 60)
            if "errors" not in answer:
                return answer["data"]["done"]
            problem, told = answer["errors"][0]["message"], answer["errors"][0]["extensions"]
            code, wait = told["code"], told.get("retryAfter", wait)
        except Exception as error:  # noqa: BLE001
            code, problem = getattr(error, "code", 0), error
        print(name, code, ascii(problem), flush=True)  # noqa: T201
        if code in (401, "INSUFFICIENT_SCOPE"):
            raise SystemExit("API_KEY has to be a key with the scope publish.")
        if code not in AGAIN and name != "claimDestinations":
            return {}
        time.sleep(float(wait))


def publish(claim: dict) -> list[tuple[str, dict]]:
    try:
        there = send(os.environ["PUBLISH_URL"], claim, {}, CALL)
        by_id, by_url = {"platformPostId": there.get("id")}, {"platformPostUrl": there.get("url")}
        return [("reportPublished", each) for each in (by_id | by_url, by_id, by_url)]
    except Exception as error:  # noqa: BLE001
        status, reason = getattr(error, "code", None), getattr(error, "reason", None)
        is_away = isinstance(reason, (ConnectionRefusedError, gaierror))  # nothing was sent
        told = {"httpStatus": status, "message": str(error) or repr(error)}
        told["category"] = CATEGORIES.get(status, "TRANSIENT")
        told["outcomeUnknown"] = not is_away and status not in NOT_THERE
        wait = error.headers.get("Retry-After", "") if status else ""
        if wait.isascii() and wait.isdigit():
            told["retryAfterSeconds"] = min(int(wait[:9]), 30 * 24 * 3600)  # more is refused
        return [("reportFailed", told)]


while True:
    for claim in ask("claimDestinations", WISH, CLAIM)["claims"]:
        lease, latest = {"leaseToken": claim.pop("leaseToken")}, time.monotonic() + 100
        # Unless it is started, and in time, somebody else may publish it.
        if ask("startAttempt", lease) and time.monotonic() < latest:
            for report, told in [*publish(claim), ("reportFailed", UNKNOWN)]:
                print(claim["postId"], report, ascii(told)[:500], flush=True)  # noqa: T201
                if ask(report, lease | told):  # as much of it as is taken
                    break
