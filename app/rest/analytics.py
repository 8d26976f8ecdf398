"""`GET /analytics/summary`: posts of a period by status and platform.

Views, likes and AI credits are 0: this service does not measure them.
"""

from app.domain.times import Period
from app.http.request import HttpRequest
from app.rest.operations import DocumentResult, JsonObject, QueryOperation, Variables
from app.rest.parameters import read_choice, read_instant


def _summary_variables(request: HttpRequest) -> Variables:
    query = request.query()
    return {
        "period": read_choice(query, "period", [*Period], Period.MONTH).upper(),
        "from": read_instant(query, "from"),
        "to": read_instant(query, "to"),
    }


def _summary_data(result: DocumentResult) -> JsonObject:
    summary = result.data["analyticsSummary"]
    return {
        "period": summary["period"].lower(),
        "range": {"from": summary["from"], "to": summary["to"]},
        "posts": summary["posts"],
        "by_platform": summary["by_platform"],
        "metrics": dict.fromkeys(
            ("views", "likes", "comments", "shares", "impressions", "clicks"), 0
        ),
        "ai_credits": {"used_this_period": 0, "bonus": 0},
    }


READ_SUMMARY = QueryOperation(
    """
query AnalyticsSummary($period: AnalyticsPeriod!, $from: DateTime, $to: DateTime) {
  analyticsSummary(period: $period, from: $from, to: $to) {
    period
    from: start
    to: end
    posts {
      total
      draft
      scheduled
      publishing
      published
      partially_failed: partiallyFailed
      failed
    }
    by_platform: byPlatform {
      platform
      total
      scheduled
      published
      failed
    }
  }
}
""",
    _summary_variables,
    _summary_data,
)
