"""Documents that cost the server much: known shapes, and random ones made of their root fields.

A document is a list of root fields, so that a search can replace, repeat and widen them. Malformed and
invalid documents are single texts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from graphql import (
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_abstract_type,
    is_required_argument,
)

from app.domain.ids import NodeKind, PostId, encode_node_id
from app.domain.times import format_instant
from tests.bench.seeding import ACCOUNTS

MAX_ROOT_FIELDS, MAX_FIELDS = 20, 490
"""Limits of the service: root fields of an operation, and nearly its limit of all fields."""

_PLATFORMS = ("instagram", "x", "facebook", "linkedin", "tiktok")
_LIST_FIELDS = ("nodes", "edges", "buckets", "groups", "destinations", "attemptLog", "accounts")
_BODY_BYTES = 1_000_000
"""Just below MAX_BODY_BYTES."""


class Request(NamedTuple):
    """A request of the search, by POST to `/graphql` unless it has another path."""

    name: str
    body: bytes
    path: str = "/graphql"
    accept: str = "application/json"


@dataclass(frozen=True, slots=True)
class RootField:
    """Text of a root field without its alias."""

    call: str
    """Name with arguments."""
    selection: str

    @property
    def size(self) -> int:
        """Number of fields, roughly."""
        return 1 + sum(
            word not in ("{", "}") and not word.startswith(("...", "on:"))
            for word in self.selection.split()
        )


@dataclass(frozen=True, slots=True)
class Operation:
    """A query made of root fields."""

    name: str
    fields: tuple[RootField, ...]

    def to_request(self) -> Request:
        text = " ".join(
            f"a{number}: {each.call} {each.selection}" for number, each in enumerate(self.fields)
        )
        return graphql_request(self.name, f"{{ {text} }}")

    def limited(self) -> "Operation":
        """Drop the last root fields until the service accepts the number of fields."""
        fields = list(self.fields[:MAX_ROOT_FIELDS])
        while len(fields) > 1 and sum(each.size for each in fields) > MAX_FIELDS:
            fields.pop()
        return replace(self, fields=tuple(fields))


def graphql_request(
    name: str, query: str, variables: Mapping[str, object] | None = None, **options: str
) -> Request:
    body = {"query": query, "variables": variables or {}}
    return Request(name, orjson.dumps(body), **options)


@dataclass(slots=True)
class DocumentGenerator:
    """Generator of documents about one dataset; the same random numbers give the same documents."""

    schema: GraphQLSchema
    now: datetime
    post_ids: Sequence[UUID]
    rng: Random
    _count: int = field(default=0)

    def operation(self) -> Operation:
        """Draw a query of a few different root fields, each repeated."""
        fields: list[RootField] = []
        for _ in range(self.rng.choice((1, 1, 1, 2, 3, 5))):
            fields += [self._root_field()] * self.rng.choice((1, 1, 4, 20))
        return self._named(fields)

    def variant(self, operation: Operation) -> Operation:
        """Change one thing of a query: replace, add or repeat a root field, or select other fields."""
        fields = list(operation.fields)
        number = self.rng.randrange(len(fields))
        match self.rng.choice(("replace", "add", "repeat", "select", "select", "arguments")):
            case "replace":
                fields[number] = self._root_field()
            case "add":
                fields.insert(0, self._root_field())
            case "repeat":
                fields = [fields[number]] * MAX_ROOT_FIELDS
            case "select":
                name = fields[number].call.partition("(")[0]
                fields = [self._root_field(name)] * len(fields)
            case "arguments":
                name = fields[number].call.partition("(")[0]
                drawn = self._root_field(name)
                fields = [replace(each, call=drawn.call) for each in fields[:1]] * len(fields)
        return self._named(fields)

    def _named(self, fields: Sequence[RootField]) -> Operation:
        self._count += 1
        names = sorted({each.call.partition("(")[0] for each in fields})
        name = f"random {self._count}: {' '.join(names)}"
        return Operation(name, tuple(fields)).limited()

    def _root_field(self, name: str | None = None) -> RootField:
        root = self.schema.query_type
        assert root is not None
        name = name or self.rng.choice(
            [each for each in root.fields if each != "webhookDeliveries"]
        )
        definition = root.fields[name]
        arguments = {
            key: self._argument(name, key)
            for key, argument in definition.args.items()
            if is_required_argument(argument) or self.rng.random() < 0.5
        }
        arguments = {key: value for key, value in arguments.items() if value}
        if "first" in arguments:  # not together with the arguments of other pages
            for other in ("last", "before", "after", "offset"):
                arguments.pop(other, None)
        texts = ", ".join(f"{key}: {value}" for key, value in arguments.items())
        budget = self.rng.choice((5, 20, 60, 150, 450))
        selection = self._selection(definition.type, [budget], 6)
        return RootField(f"{name}({texts})" if texts else name, selection)

    def _argument(self, root: str, name: str) -> str:  # noqa: PLR0911, PLR0912 - one case per name
        rng, post = self.rng, self.rng.choice(self.post_ids)
        days = rng.choice((1, 7, 30, 60, 83, 400))
        match name:
            case "first":
                return str(rng.choice((20,) if root == "calendar" else (100, 100, 50, 20)))
            case "from" | "start" | "since":
                return quoted(self.now - timedelta(days=days))
            case "to" | "end":
                return quoted(self.now)
            case "interval":
                return rng.choice(("HOUR", "DAY", "WEEK"))
            case "bucket":
                return rng.choice(("HOUR", "DAY"))
            case "groupBy":
                names = ("PLATFORM", "ACCOUNT", "CATEGORY", "HOUR_OF_WEEK")
                return f"[{', '.join(rng.sample(names, rng.choice((1, 2, 2))))}]"
            case "period":
                return rng.choice(("WEEK", "MONTH", "YEAR"))
            case "timezone":
                return rng.choice(('"Europe/Berlin"', '"UTC"', '"America/New_York"'))
            case "postId":
                return f'"{post}"'
            case "accountId":
                return str(rng.randint(1, ACCOUNTS))
            case "id":
                return f'"{encode_node_id(NodeKind.POST, PostId(post))}"'
            case "ids":
                ids = rng.sample(self.post_ids, 100)
                return f"[{', '.join(_post_node(each) for each in ids)}]"
            case "platform":
                return f'"{rng.choice(_PLATFORMS)}"'
            case "category":
                return rng.choice(("TRANSIENT", "RATE_LIMITED", "AUTH"))
            case "direction":
                return rng.choice(("ASC", "DESC"))
            case "filter":
                return rng.choice(self._filters(root))
        return ""

    def _filters(self, root: str) -> Sequence[str]:
        accounts = f"accountId: [{', '.join(map(str, range(1, 101)))}]"
        if root in ("destinations", "failureGroups"):
            week = quoted(self.now - timedelta(days=7))
            return (
                "{status: [FAILED]}",
                f"{{{accounts}}}",
                f"{{failedAfter: {week}}}",
                "{lateBySeconds: 60}",
                '{search: "a"}',
                "{status: [FAILED, PUBLISHED], source: [USER]}",
            )
        if root == "posts":
            return ("{status: [FAILED, PUBLISHED]}", f"{{{accounts}}}", '{search: "launch"}')
        if root in ("calendar", "outcomeStats"):
            return (f"{{{accounts}}}", f'{{platform: ["{_PLATFORMS[0]}"]}}')
        return ("",)

    def _selection(self, type_: GraphQLOutputType, budget: list[int], levels: int) -> str:
        """Select as many fields as the budget allows, lists first; it shrinks with each field."""
        named = get_named_type(type_)
        if is_abstract_type(named):
            return self._abstract_selection(named, budget, levels)
        if not isinstance(named, GraphQLObjectType):
            return ""
        chosen: list[str] = []
        names = list(named.fields)
        self.rng.shuffle(names)
        names.sort(key=lambda name: name not in _LIST_FIELDS)
        for name in names:
            definition = named.fields[name]
            needs = any(is_required_argument(each) for each in definition.args.values())
            is_leaf = not isinstance(get_named_type(definition.type), GraphQLObjectType)
            if budget[0] <= 0 or (levels == 0 and not is_leaf):
                continue
            if name in ("edges", "pageInfo", "totalCount") and self.rng.random() < 0.8:
                continue
            budget[0] -= 1
            call = f"{name}({self._child_arguments(definition)})" if needs else name
            if name == "attemptConnection":
                call = f"{name}(first: 1)"
            chosen.append(f"{call} {self._selection(definition.type, budget, levels - 1)}".strip())
        return f"{{ {' '.join(chosen or ['__typename'])} }}"

    def _abstract_selection(self, named: GraphQLNamedType, budget: list[int], levels: int) -> str:
        possible = [self.schema.type_map[name] for name in ("Post",)]
        if isinstance(named, GraphQLUnionType):
            possible = list(named.types)
        parts = [
            f"... on {each.name} {self._selection(each, budget, levels - 1)}"  # type: ignore[arg-type]
            for each in possible
        ]
        return f"{{ {' '.join(parts)} }}"

    def _child_arguments(self, definition: Any) -> str:
        return ", ".join(
            f"{name}: {self._argument('stats', name)}"
            for name, argument in definition.args.items()
            if is_required_argument(argument)
        )


def quoted(time: datetime) -> str:
    return f'"{format_instant(time)}"'


def _post_node(post_id: UUID) -> str:
    return f'"{encode_node_id(NodeKind.POST, PostId(post_id))}"'


def aliased(count: int, call: str) -> str:
    return "{ " + " ".join(f"a{number}: {call}" for number in range(count)) + " }"


def known_operations(generator: DocumentGenerator) -> Iterator[Operation]:
    """Yield queries of known bad shapes; the search starts from them."""
    now = generator.now
    to = quoted(now)
    month, quarter = quoted(now - timedelta(days=60)), quoted(now - timedelta(days=83))
    counts = (
        "published failed unknown userCaused firstTry savedByRetry attempts successRate"
        " lateness { p50Seconds p95Seconds p99Seconds maxSeconds }"
    )
    groups = "groups { platform accountId category hourOfWeek counts { published } }"
    shapes = {
        "groups by account and hour of week, by day": (
            20,
            f"outcomeStats(from: {month}, to: {to}, interval: DAY, groupBy: [ACCOUNT, HOUR_OF_WEEK])",
            "{ buckets { start } }",
        ),
        "one alias of it": (
            1,
            f"outcomeStats(from: {month}, to: {to}, interval: DAY, groupBy: [ACCOUNT, HOUR_OF_WEEK])",
            "{ buckets { start } }",
        ),
        "statistics by hour": (
            20,
            f"outcomeStats(from: {quarter}, to: {to}, interval: HOUR, groupBy: [ACCOUNT, CATEGORY])",
            f"{{ buckets {{ start counts {{ {counts} }} }} }}",
        ),
        "statistics by account, one bucket": (
            20,
            f"outcomeStats(from: {month}, to: {to}, groupBy: [ACCOUNT])",
            f"{{ buckets {{ start {groups} counts {{ {counts} }} }} }}",
        ),
        "lateness of all": (
            20,
            f"outcomeStats(from: {month}, to: {to})",
            f"{{ buckets {{ counts {{ {counts} }} }} }}",
        ),
        "calendar by hour": (
            20,
            f"calendar(from: {quarter}, to: {to}, bucket: HOUR, first: 0)",
            "{ buckets { start end counts { total draft failed } } }",
        ),
        "calendar with posts": (
            5,
            f"calendar(from: {month}, to: {to}, bucket: DAY, first: 20)",
            "{ buckets { start posts { postId content status destinations"
            " { platform status error diagnosis { fix } account { accountName } } } } }",
        ),
        "failure groups": (
            20,
            "failureGroups(first: 100)",
            "{ nodes { key message count hourlyCounts retryableCount refusedCount"
            " accounts { accountId count account { accountName platform } } } }",
        ),
        "board counts": (
            20,
            "boardCounts(since: {since})",
            "{ failed { count } overdue { count } brokenAccounts { count } }",
        ),
        "accounts with everything": (
            1,
            "accounts",
            generator._selection(generator.schema.type_map["Account"], [100], 2),  # type: ignore[arg-type]
        ),
        "accounts with statistics": (
            5,
            "accounts",
            f"{{ accountId stats(from: {month}, to: {to}) {{ {counts} }} health {{ status reasons"
            " activity { queuedCount } } lastFailure { error post { content } } }",
        ),
        "pages of posts": (
            20,
            "posts(first: 100)",
            "{ nodes { postId content status scheduledFor publishedAt createdAt updatedAt"
            " destinations { platform status error publishedAt diagnosis { fix } } } }",
        ),
        "posts with attempts": (
            20,
            "posts(first: 100)",
            "{ nodes { postId destinations { platform status attemptLog { attemptId startedAt message"
            " durationMs outcome } account { accountName health { status } } } } }",
        ),
        "destinations with attempt pages": (
            10,
            "destinations(first: 100)",
            "{ nodes { destinationId status error diagnosis { fix } post { content } account { accountName"
            " health { status reasons } } attemptConnection(first: 1) { nodes { startedAt message } } } }",
        ),
        "nodes by id": (
            20,
            f"nodes(ids: {generator._argument('nodes', 'ids')})",
            "{ __typename id ... on Post { content status destinations { platform status } } }",
        ),
        "error catalog": (20, "errorCatalog", "{ code fix source category retryable }"),
        "schema": (
            1,
            "__schema",
            "{ types { name description fields(includeDeprecated: true) { name description args { name"
            " description defaultValue type { name kind } } type { name kind ofType { name kind ofType"
            " { name } } } } inputFields { name description defaultValue type { name kind ofType { name } } }"
            " enumValues { name description } } }",
        ),
        "schema by aliases": (
            20,
            "__schema",
            "{ types { name fields { name args { name } type { name } } } }",
        ),
        "types by aliases": (
            20,
            '__type(name: "Destination")',
            "{ fields { name description type { name fields { name description args { name } } } } }",
        ),
    }
    for name, (count, call, selection) in shapes.items():
        fields = tuple(
            RootField(
                call.replace("{since}", quoted(now - timedelta(days=1, milliseconds=number))),
                selection,
            )
            for number in range(count)
        )
        yield Operation(name, fields).limited()


def known_requests(generator: DocumentGenerator) -> Iterator[Request]:
    """Yield requests that a search cannot vary: refused documents, large variables, writes, exports."""
    wide = " ".join(f"a{number}: nodes {{ id }}" for number in range(200))
    list_of_fields = "nodes { destinationId } " * 240
    many = " ".join(f"unknown{number}" for number in range(480))
    destination = "{ destinationId status error post { content } }"
    filters = " ".join(f"failedAfter{number}: true" for number in range(600))
    yield graphql_request("overlapping fields", "{ " + "posts { nodes { id } } " * 240 + "}")
    yield graphql_request(
        "one list, refused", f"{{ destinations(first: 100) {{ {list_of_fields} }} }}"
    )
    yield graphql_request("too many aliases", f"{{ posts {{ {wide} }} }}")
    yield graphql_request("unknown fields", f"{{ posts {{ nodes {{ {many} }} }} }}")
    yield graphql_request(
        "overlapping fragments",
        "{ "
        + " ".join(f"...F{number}" for number in range(120))
        + " }"
        + "".join(
            f" fragment F{number} on Query {{ posts {{ nodes {{ id content }} }} }}"
            for number in range(120)
        ),
    )
    yield graphql_request(
        "fragment ladder",
        "{ ...F0 }"
        + "".join(
            f" fragment F{number} on Query {{ ...F{number + 1} ...F{number + 1} }}"
            for number in range(200)
        )
        + " fragment F200 on Query { viewer { scopes } }",
    )
    yield graphql_request(
        "unknown input fields", f"{{ destinations(filter: {{{filters}}}) {{ nodes {{ id }} }} }}"
    )
    yield graphql_request(
        "unknown arguments",
        "{ posts("
        + " ".join(f"firsts{number}: 1" for number in range(600))
        + ") { nodes { id } } }",
    )
    yield graphql_request(
        "undefined variables",
        "{ posts(filter: {platform: ["
        + " ".join(f"$v{number}" for number in range(900))
        + "]}) { nodes { id } } }",
    )
    yield graphql_request(
        "invalid literals",
        "{ destinations(filter: {accountId: ["
        + " ".join('"x"' for _ in range(1900))
        + "]}) { nodes { id } } }",
    )
    for name, filler in {
        "spaces": " ",
        "commas": ",",
        "line ends": "\n",
        "comments": "#\n",
        "one comment": "#" + "c" * (_BODY_BYTES - 200),
    }.items():
        count = (_BODY_BYTES - 100) // len(orjson.dumps(filler)[1:-1])
        yield graphql_request(f"document of {name}", filler * count + "\n{ viewer { scopes } }")
    for name, quote in {"string": '"', "block string": '"""'}.items():
        text = "a b\\u0041" if quote == '"' else "a b\n  c "
        count = (_BODY_BYTES - 200) // len(orjson.dumps(text)[1:-1])
        yield graphql_request(
            f"document with a long {name}",
            f"{{ posts(filter: {{search: {quote}{text * count}{quote}}}) {{ nodes {{ id }} }} }}",
        )
    yield graphql_request("long name", "{ " + "a" * (_BODY_BYTES - 100) + " }")
    yield graphql_request(
        "syntax error at the end",
        " " * (_BODY_BYTES // 2) + "\n" * (_BODY_BYTES // 5) + "{ posts( }",
    )
    query = "query ($filter: DestinationFilter) { destinations(filter: $filter) { nodes { id } } }"
    yield graphql_request(
        "deep lists in variables", query, {"filter": {"accountId": [[[0] * 100] * 100] * 40}}
    )
    yield graphql_request(
        "wide objects in variables",
        query,
        {"filter": {f"a{key}": {f"b{i}": [0] * 100 for i in range(30)} for key in range(100)}},
    )
    yield graphql_request(
        "long texts in variables",
        query,
        {"filter": {"platform": ["x" * 9_000] * 100, "errorCode": [{"y": "x" * 900}] * 50}},
    )
    yield graphql_request(
        "unused variables", "{ viewer { scopes } }", {"unused": [[0] * 100] * 4_000}
    )
    yield Request(
        "JSON of lists", b'{"query": "{ viewer { scopes } }", "x": [' + b"[]," * 300_000 + b"0]}"
    )
    yield from _write_requests(generator, destination)
    yield from _other_requests()


def _write_requests(generator: DocumentGenerator, destination: str) -> Iterator[Request]:
    """Yield mutations that change nothing: dry runs, and invalid posts."""
    for mutation, argument, lists in (
        ("retryDestinations", 'filter: {platform: ["instagram", "x"]}', "retries"),
        (
            "reconcileDestinations",
            'finding: NOT_PUBLISHED, filter: {platform: ["instagram"]}',
            "reconciliations",
        ),
    ):
        yield graphql_request(
            f"dry run of {mutation}",
            f"mutation {{ {mutation}(input: {{dryRun: true, first: 500, {argument}}}) {{ plannedCount"
            f" {lists} {{ destinationId destination {{ status error diagnosis {{ fix nextAction }}"
            " outlook { sentence } post { content status destinations { platform status error"
            " diagnosis { fix } account { accountName } } } account { accountName health { status } }"
            " attemptLog { startedAt message } } } } }",
        )
    later = quoted(generator.now + timedelta(days=1))
    yield graphql_request(
        "dry run of cancelPosts",
        f"mutation {{ cancelPosts(input: {{dryRun: true, first: 500, filter: {{scheduledAfter: {later}}}}})"
        " { plannedCount cancellations { postId post { content destinations { status outlook { sentence }"
        " account { accountName health { status } } } } } } }",
    )
    yield graphql_request(
        "20 dry runs",
        "mutation "
        + aliased(
            20,
            'retryDestinations(input: {dryRun: true, first: 500, filter: {search: "e"}})'
            f" {{ retries {{ destinationId destination {destination} }} }}",
        ),
    )
    posts = [{"content": 1, "accountIds": ["x"] * 400, "unknown": [{}] * 100}] * 50
    create = "mutation ($posts: [PostInput!]!) { createPosts(input: {posts: $posts}) { failed } }"
    yield graphql_request("invalid posts", create, {"posts": posts})
    media = [{"url": "https://example.com/a.png", "tags": [[0] * 100] * 20}] * 100
    yield graphql_request("large posts", create, {"posts": [{"content": "", "media": media}] * 2})


def changing_requests(generator: DocumentGenerator) -> Iterator[Request]:
    """Yield large mutations that change the data, which come last."""
    media = [{"url": "https://example.com/a.png", "tags": [[0] * 100] * 40}] * 100
    post = {"content": "x" * 1000, "accountIds": [*range(1, 11)], "draft": True}
    create = "mutation ($posts: [PostInput!]!) { createPosts(input: {posts: $posts}) { failed } }"
    yield graphql_request("50 posts on 10 accounts", create, {"posts": [post] * 50})
    yield graphql_request(
        "change of a large post",
        "mutation ($input: UpdatePostInput!) { updatePost(input: $input) { post { version } } }",
        {"input": {"postId": str(generator.post_ids[-1]), "media": media}},
    )
    yield graphql_request(
        "retryDestinations",
        'mutation { retryDestinations(input: {first: 500, filter: {platform: ["instagram", "x"]}})'
        " { retries { destinationId destination { status } } } }",
    )
    later = quoted(generator.now + timedelta(days=1))
    yield graphql_request(
        "cancelPosts",
        f"mutation {{ cancelPosts(input: {{first: 500, filter: {{scheduledAfter: {later}}}}})"
        " { cancellations { postId } } }",
    )


def _other_requests() -> Iterator[Request]:
    yield graphql_request(
        "subscription of everything",
        "subscription { changes { "
        + " ".join(
            f"{name}: destination {{ destinationId status post {{ content destinations {{ status"
            " diagnosis { fix } account { accountName } } } }"
            for name in ("a", "b", "c", "d")
        )
        + " } }",
        accept="text/event-stream",
    )
    for suffix in ("ndjson", "csv"):
        yield Request(f"export as {suffix}", b"", path=f"/v1/destinations.{suffix}")
    yield Request("posts by REST", b"", path="/v1/posts?limit=100")
    yield Request("accounts by REST", b"", path="/v1/accounts")
