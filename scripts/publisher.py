"""A publisher in 60 lines: claims what is due, POSTs it to PUBLISH_URL, reports what came of it."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from socket import gaierror
from urllib.request import Request, urlopen

API = os.environ.get("API_URL", "http://127.0.0.1:8000/graphql")
KEY = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['API_KEY']}"}
LIMIT = float(os.environ.get("CALL_SECONDS", "100"))  # what a call to PUBLISH_URL may take in all
CLAIM = "claims { leaseToken destinationId postId platform accountName content mediaIds reference }"
AGAIN = {"SERVICE_UNAVAILABLE", "INTERNAL_ERROR", "RATE_LIMIT_EXCEEDED", None, *range(429, 600)}
NOT_THERE = {503, *range(400, 500)} - {408, 409}  # after any other status, it may be there
CATEGORIES = {400: "CONTENT_REJECTED", 401: "AUTH", 403: "AUTH", 429: "RATE_LIMITED"}
UNKNOWN = {"category": "UNCLASSIFIED", "message": "No usable answer.", "outcomeUnknown": True}


def send(url: str, body: object, headers: dict, seconds: float) -> dict:
    call = Request(url, json.dumps(body).encode(), headers)  # noqa: S310
    answer = ThreadPoolExecutor(1).submit(lambda: urlopen(call, timeout=30).read())  # noqa: S310
    return json.loads(answer.result(seconds), parse_int=str)


def ask(name: str, given: dict, fields: str = "receipt") -> dict | None:  # noqa: RET503
    call = f"mutation($i: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $i) {{ {fields} }} }}"
    code = None
    while code in AGAIN:  # each call may be sent again, and counts once
        try:
            answer = send(API, {"query": call, "variables": {"i": given}}, KEY, 60)
            if "errors" not in answer:
                return answer["data"][name]
            code, problem = answer["errors"][0]["extensions"]["code"], answer["errors"]
        except Exception as error:  # noqa: BLE001
            code, problem = getattr(error, "code", None), error
        print(name, code, ascii(problem)[:500], flush=True)  # noqa: T201
        time.sleep(2 if code in AGAIN else 0)


def publish(claim: dict) -> list[tuple[str, dict]]:
    try:
        there = send(os.environ["PUBLISH_URL"], claim, {"Content-Type": "application/json"}, LIMIT)
        by_id, by_url = {"platformPostId": there.get("id")}, {"platformPostUrl": there.get("url")}
        reports = [("reportPublished", each) for each in (by_id | by_url, by_id, by_url)]
        return [*reports, ("reportFailed", UNKNOWN)]  # noqa: TRY300
    except Exception as e:  # noqa: BLE001
        status, wait = getattr(e, "code", None), getattr(e, "headers", {}).get("Retry-After", "")
        is_away = isinstance(getattr(e, "reason", None), (ConnectionRefusedError, gaierror))
        told = {"category": CATEGORIES.get(status, "TRANSIENT"), "message": str(e) or repr(e)}
        told |= {"httpStatus": status, "outcomeUnknown": not is_away and status not in NOT_THERE}
        told["retryAfterSeconds"] = min(int(wait[:9]), 2_592_000) if wait.isdecimal() else None
        return [("reportFailed", told), ("reportFailed", UNKNOWN)]


while got := ask("claimDestinations", {"limit": 1, "leaseSeconds": 300, "waitSeconds": 20}, CLAIM):
    for claim in got["claims"]:
        lease, latest = {"leaseToken": claim.pop("leaseToken")}, time.monotonic() + 100
        if ask("startAttempt", lease) and time.monotonic() < latest:  # else it may be another's
            any(ask(report, lease | told) for report, told in publish(claim))  # the first one taken
