"""A publisher in 63 lines: claims due destinations, POSTs them to PUBLISH_URL, reports the results."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from socket import gaierror
from urllib.request import HTTPRedirectHandler, Request, build_opener

API = os.environ.get("API_URL", "http://127.0.0.1:8000/graphql")
KEY = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['API_KEY']}"}
LIMIT = float(os.environ.get("CALL_SECONDS", "100"))  # total timeout of a call to PUBLISH_URL
CLAIM = "claims { leaseToken destinationId postId platform accountName content mediaIds reference }"
REPEAT = {"SERVICE_UNAVAILABLE", "INTERNAL_ERROR", "RATE_LIMIT_EXCEEDED", None}
REPEAT |= {*range(300, 400), *range(429, 600)}
REJECTED = {503, *range(400, 500)} - {408, 409}  # after any other status, the post may exist
CATEGORIES = {400: "CONTENT_REJECTED", 401: "AUTH", 403: "AUTH", 429: "RATE_LIMITED"}
NoRedirects = type("NoRedirects", (HTTPRedirectHandler,), {"redirect_request": lambda *_: None})
UNKNOWN = {"category": "UNCLASSIFIED", "message": "No usable answer.", "outcomeUnknown": True}


def send(url: str, body: object, headers: dict, seconds: float) -> dict:
    call = Request(url, json.dumps(body).encode(), headers)  # noqa: S310
    opener = build_opener(NoRedirects)  # a redirected POST would become a GET
    answer = ThreadPoolExecutor(1).submit(lambda: opener.open(call, timeout=30).read())
    return json.loads(answer.result(seconds), parse_int=str)


def run(name: str, data: dict, fields: str = "receipt") -> dict | None:  # noqa: RET503
    text = f"mutation($i: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $i) {{ {fields} }} }}"
    code = None
    while code in REPEAT:  # every call can be repeated, and counts once
        try:
            answer = send(API, {"query": text, "variables": {"i": data}}, KEY, 60)
            if "errors" not in answer:
                return answer["data"][name]
            code, problem = answer["errors"][0]["extensions"]["code"], answer["errors"]
        except Exception as error:  # noqa: BLE001
            code, problem = getattr(error, "code", None), error
        print(name, code, ascii(problem)[:500], flush=True)  # noqa: T201
        time.sleep(2 if code in REPEAT else 0)


def publish(claim: dict) -> list[tuple[str, dict]]:
    try:
        post = send(os.environ["PUBLISH_URL"], claim, {"Content-Type": "application/json"}, LIMIT)
        by_id, by_url = {"platformPostId": post.get("id")}, {"platformPostUrl": post.get("url")}
        reports = [("reportPublished", each) for each in (by_id | by_url, by_id, by_url)]
        return [*reports, ("reportFailed", UNKNOWN)]  # noqa: TRY300
    except Exception as e:  # noqa: BLE001
        status, wait = getattr(e, "code", None), getattr(e, "headers", {}).get("Retry-After", "")
        is_away = isinstance(getattr(e, "reason", None), (ConnectionRefusedError, gaierror))
        report = {"category": CATEGORIES.get(status, "TRANSIENT"), "message": str(e) or repr(e)}
        report |= {"httpStatus": status, "outcomeUnknown": not is_away and status not in REJECTED}
        report["retryAfterSeconds"] = min(int(wait[:9]), 2_592_000) if wait.isdecimal() else None
        return [("reportFailed", report), ("reportFailed", UNKNOWN)]


while due := run("claimDestinations", {"limit": 1, "leaseSeconds": 300, "waitSeconds": 20}, CLAIM):
    for claim in due["claims"]:
        lease, latest = {"leaseToken": claim.pop("leaseToken")}, time.monotonic() + 100
        if run("startAttempt", lease) and time.monotonic() < latest:  # else it may be lost
            any(run(name, lease | fields) for name, fields in publish(claim))  # until one succeeds
