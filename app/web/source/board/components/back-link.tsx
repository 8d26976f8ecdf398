// The link from an object back to the list that the user came from, with its filters.

import { Link, useLocation } from "wouter";

import { useShortcuts } from "../keyboard/shortcuts";

interface Props {
  /** Path of the list without filters. */
  readonly list: string;
  readonly name: string;
}

const lastPaths = new Map<string, string>();

/** Notes the path of a list with its filters. */
export function rememberList(list: string, path: string): void {
  lastPaths.set(list, path);
}

export function BackLink({ list, name }: Props) {
  const [, navigate] = useLocation();
  const path = lastPaths.get(list) ?? list;
  useShortcuts({ u: () => navigate(path) });
  return <Link href={path}>← {name}</Link>;
}
