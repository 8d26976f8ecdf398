// Which documented REST call brings the data of a GraphQL operation. Asks nobody.

import {
  getOperationAST,
  Kind,
  valueFromASTUntyped,
  type DocumentNode,
  type FieldNode,
  type OperationDefinitionNode,
} from "graphql";

type Arguments = Record<string, unknown>;

const ENUMS = new Set(["status", "sort", "order", "period"]);

/** The path below /v1 of the call for the operation's first field; null where there is none. */
export function restPath(
  document: DocumentNode,
  operationName: string | undefined,
  variables: Arguments,
): string | null {
  const operation = getOperationAST(document, operationName);
  const field = operation?.operation === "query" ? firstField(operation) : undefined;
  if (!field) return null;
  const given = argumentsOf(field, variables);
  const selects = (name: string) =>
    !!field.selectionSet?.selections.some(
      (each) => each.kind === Kind.FIELD && each.name.value === name,
    );

  switch (field.name.value) {
    case "post":
      if (!given["postId"]) return null;
      return `/posts/${segment(given["postId"])}${selects("content") ? "" : "/results"}`;
    case "posts":
      return withQuery("/posts", listParameters(given));
    case "account":
      if (!given["accountId"]) return null;
      return `/accounts/${segment(given["accountId"])}${selects("health") ? "/health" : ""}`;
    case "accounts":
      return "/accounts";
    case "changes":
      return withQuery("/changes", changesParameters(given));
    case "viewer":
      return "/me";
    case "analyticsSummary":
      return withQuery("/analytics/summary", parameters(given));
    default:
      return null;
  }
}

function firstField(operation: OperationDefinitionNode): FieldNode | undefined {
  return operation.selectionSet.selections.find((each) => each.kind === Kind.FIELD);
}

function argumentsOf(field: FieldNode, variables: Arguments): Arguments {
  const pairs = field.arguments?.map(
    ({ name, value }) => [name.value, valueFromASTUntyped(value, variables)] as const,
  );
  return Object.fromEntries(pairs ?? []);
}

/** The list call has no cursors. */
function listParameters(given: Arguments): Arguments | null {
  const { filter, orderBy, first, offset, ...cursors } = given;
  if (Object.keys(cursors).length > 0) return null;
  const { field, direction } = (orderBy ?? {}) as Arguments;
  return parameters({ ...(filter as Arguments), sort: field, order: direction, limit: first, offset });
}

/** Types of changes are written otherwise: POST_CREATED is post.created. */
function changesParameters({ first, types, ...given }: Arguments): Arguments {
  const words = types == null ? types : [types].flat().join(",").toLowerCase().replaceAll("_", ".");
  return parameters({ ...given, limit: first, types: words });
}

/** Names in snake case, enums in lower case, lists joined by commas. */
function parameters(given: Arguments): Arguments {
  const pairs = Object.entries(given)
    .filter(([, value]) => value != null)
    .map(([name, value]) => [
      name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      ENUMS.has(name) ? [value].flat().join(",").toLowerCase() : [value].flat().join(","),
    ]);
  return Object.fromEntries(pairs);
}

function withQuery(path: string, given: Arguments | null): string | null {
  if (given === null) return null;
  const query = new URLSearchParams(given as Record<string, string>)
    .toString()
    .replaceAll("%3A", ":") // which people can read, and need not be encoded there
    .replaceAll("%2C", ",");
  return query ? `${path}?${query}` : path;
}

function segment(value: unknown): string {
  return encodeURIComponent(String(value)).replaceAll("'", "%27"); // which quotes the URL in a shell
}
