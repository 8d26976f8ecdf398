// Finds the documented REST call that returns the data of a GraphQL operation.

import {
  getOperationAST,
  Kind,
  valueFromASTUntyped,
  type DocumentNode,
  type FieldNode,
  type OperationDefinitionNode,
} from "graphql";

type Arguments = Record<string, unknown>;

const ENUM_PARAMETERS = new Set(["status", "sort", "order", "period"]);

/** Path below /v1 of the call for the first field of the operation; null if REST has no such call. */
export function restPath(
  document: DocumentNode,
  operationName: string | undefined,
  variables: Arguments,
): string | null {
  const operation = getOperationAST(document, operationName);
  const field = operation?.operation === "query" ? firstField(operation) : undefined;
  if (!field) return null;
  const args = argumentsOf(field, variables);
  const selects = (name: string) =>
    !!field.selectionSet?.selections.some(
      (selection) => selection.kind === Kind.FIELD && selection.name.value === name,
    );

  switch (field.name.value) {
    case "post":
      if (!args["postId"]) return null;
      return `/posts/${segment(args["postId"])}${selects("content") ? "" : "/results"}`;
    case "posts":
      return withQuery("/posts", listParameters(args));
    case "account":
      if (!args["accountId"]) return null;
      return `/accounts/${segment(args["accountId"])}${selects("health") ? "/health" : ""}`;
    case "accounts":
      return "/accounts";
    case "changes":
      return withQuery("/changes", changesParameters(args));
    case "viewer":
      return "/me";
    case "analyticsSummary":
      return withQuery("/analytics/summary", parameters(args));
    default:
      return null;
  }
}

function firstField(operation: OperationDefinitionNode): FieldNode | undefined {
  return operation.selectionSet.selections.find((selection) => selection.kind === Kind.FIELD);
}

function argumentsOf(field: FieldNode, variables: Arguments): Arguments {
  const pairs = field.arguments?.map(
    ({ name, value }) => [name.value, valueFromASTUntyped(value, variables)] as const,
  );
  return Object.fromEntries(pairs ?? []);
}

/** Null if the arguments contain cursors, which the REST list does not have. */
function listParameters(args: Arguments): Arguments | null {
  const { filter, orderBy, first, offset, ...cursors } = args;
  if (Object.keys(cursors).length > 0) return null;
  const { field, direction } = (orderBy ?? {}) as Arguments;
  return parameters({ ...(filter as Arguments), sort: field, order: direction, limit: first, offset });
}

/** REST formats change types differently: POST_CREATED is post.created. */
function changesParameters({ first, types, ...others }: Arguments): Arguments {
  const names = types == null ? types : [types].flat().join(",").toLowerCase().replaceAll("_", ".");
  return parameters({ ...others, limit: first, types: names });
}

/** Converts names to snake case and enums to lower case, and joins lists by commas. */
function parameters(args: Arguments): Arguments {
  const pairs = Object.entries(args)
    .filter(([, value]) => value != null)
    .map(([name, value]) => [
      name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      ENUM_PARAMETERS.has(name) ? [value].flat().join(",").toLowerCase() : [value].flat().join(","),
    ]);
  return Object.fromEntries(pairs);
}

function withQuery(path: string, query: Arguments | null): string | null {
  if (query === null) return null;
  const text = new URLSearchParams(query as Record<string, string>)
    .toString()
    .replaceAll("%3A", ":") // readable, and valid in a query string
    .replaceAll("%2C", ",");
  return text ? `${path}?${text}` : path;
}

function segment(value: unknown): string {
  return encodeURIComponent(String(value)).replaceAll("'", "%27"); // the shell command quotes the URL with '
}
