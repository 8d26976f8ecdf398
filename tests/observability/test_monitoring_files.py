"""The example rules of Prometheus and the Grafana dashboard name existing metrics, labels and values."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.domain.circuit_breakers import OpenBreakers
from app.domain.credentials import UnreadableSecretCounts
from app.domain.destinations import Backlog
from app.domain.errors import ErrorCode
from app.observability.metrics import Metrics, render_metrics
from app.platforms import ADAPTER_PLATFORMS
from tests.factories import NOW
from tests.observability.test_metrics import ENDED, READ
from tests.style import ROOT

FOLDER = ROOT / "scripts" / "monitoring"

RULE = re.compile(
    r"      - alert: (?P<name>PostResults\w+)\n"
    r"        expr: (?P<expr>[^\n#]+)\n"
    r"        for: \d+m\n"
    r"        labels:\n"
    r"          severity: (?:warning|critical)\n"
    r"        annotations:\n"
    r'          summary: "(?P<summary>[^"\n]+)"\n'
)
"""A rule in the only form that the file may use, which needs no parser of YAML."""

LabelValues = Mapping[str, Mapping[str, set[str]]]
"""Values of each label, by metric."""


def rules() -> list[re.Match[str]]:
    text = (FOLDER / "alerts.yml").read_text()
    matches = list(RULE.finditer(text))
    rest = RULE.sub("", text).replace("\n", "").partition("groups:")[2]
    assert rest.split() == ["-", "name:", "post-results", "rules:"]
    return matches


def expressions() -> dict[str, str]:
    """PromQL expressions, by the name of their rule or panel and target."""
    found = {match["name"]: match["expr"] for match in rules()}
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return content


def existing_label_values() -> LabelValues:
    """Label values of all metrics of a service that has counted something of every kind."""
    metrics = Metrics(ADAPTER_PLATFORMS)
    for status in (200, 404, 429, 503):
        metrics.requests_finished(READ._replace(status=status), [0.1])
    for code in (None, *ErrorCode):
        metrics.operations_finished("query", code)
    metrics.transition_committed(ADAPTER_PLATFORMS[0], ENDED)
    page = render_metrics(
        metrics,
        is_ready=True,
        backlog=Backlog(0, 0, None),
        unreadable=UnreadableSecretCounts([], 0, 0, 0),
        breakers=OpenBreakers(0, 0),
        now=NOW,
    )
    values: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    values["up"]["job"].add("post-results")  # by Prometheus itself
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            for name, value in sample.labels.items():
                values[sample.name][name].add(value)
            values[sample.name]  # also without labels
    return values


def problems(expression: str, existing: LabelValues) -> Iterator[str]:
    """Metrics, labels and values of an expression that do not exist."""
    labels = set[str]()
    for name, selector in re.findall(
        r"\b(up|post_results_\w+)(?:\{([^}]*)\})?", expression.replace("$__rate_interval", "5m")
    ):
        if name not in existing:
            yield f"metric {name}"
            continue
        labels |= existing[name].keys()
        for label, value in re.findall(r'(\w+)\s*(?:!=|=~|!~|=)\s*"([^"]*)"', selector):
            if value not in existing[name].get(label, ()):
                yield f"{name}{{{label}={value}}}"
    for grouping in re.findall(r"\b(?:by|on|without|ignoring) \(([^)]*)\)", expression):
        yield from (f"label {name}" for name in grouping.split(", ") if name not in labels)


def test_every_metric_label_and_value_exists() -> None:
    existing = existing_label_values()
    found = expressions()

    assert {name: list(problems(expression, existing)) for name, expression in found.items()} == {
        name: [] for name in found
    }
    assert all("post_results_" in found[name] for name in found if name != "PostResultsDown")
    assert (len(rules()), len(dashboard()["panels"])) == (12, 15)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("post_results_nothing == 0", ["metric post_results_nothing"]),
        ("rate(post_results_attempts[5m])", ["metric post_results_attempts"]),
        (
            'post_results_attempts_total{outcome="lost"}',
            ["post_results_attempts_total{outcome=lost}"],
        ),
        ('post_results_ready{state="x"}', ["post_results_ready{state=x}"]),
        ("sum by (le, workspace) (post_results_attempts_total)", ["label le", "label workspace"]),
    ],
)
def test_missing_names_are_found(expression: str, found: list[str]) -> None:
    assert list(problems(expression, existing_label_values())) == found


def test_texts_use_labels_that_the_expression_returns() -> None:
    texts = {match["name"]: (match["expr"], match["summary"]) for match in rules()}
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            key = f"{panel['title']} {target['refId']}"
            texts[key] = (target["expr"], target["legendFormat"])
    for name, (expression, text) in texts.items():
        grouped = set(", ".join(re.findall(r"by \(([^)]*)\)", expression)).split(", "))
        used = re.findall(r"\{\{ ?(?:\$labels\.)?(\w+) ?\}\}", text)
        assert set(used) <= grouped - {"le"}, name
