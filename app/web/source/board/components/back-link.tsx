// The link from an object back to the list that the user came from, with its filters.

import { Link, useLocation } from "wouter";

import { useShortcuts } from "../keyboard/shortcuts";

/** Names of the lists, by their paths without filters. */
const NAMES = {
  "/accounts": "Accounts",
  "/failures": "Failures",
  "/results": "Results",
  "/webhooks": "Webhooks",
};

type List = keyof typeof NAMES;

const lastLists = new Map<List, { readonly path: string; readonly name: string }>();

/** Notes the path of a list with its filters, and the name of its page if that is another one. */
export function rememberList(list: List, path: string, name = NAMES[list]): void {
  lastLists.set(list, { path, name });
}

export function BackLink({ list }: { readonly list: List }) {
  const [, navigate] = useLocation();
  const { path, name } = lastLists.get(list) ?? { path: list, name: NAMES[list] };
  useShortcuts({ u: () => navigate(path) });
  return <Link href={path}>← {name}</Link>;
}
