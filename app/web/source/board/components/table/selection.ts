// What is selected in a table: single rows, or everything that matches its filter.

import { useMemo, useState, type Dispatch, type SetStateAction } from "react";

export interface Selection {
  /** Ids of rows that were selected one by one. */
  readonly ids: ReadonlySet<string>;
  /** True if everything that matches the filter is selected, also rows that are not loaded. */
  readonly isAll: boolean;
  readonly isEmpty: boolean;
  readonly has: (id: string) => boolean;
  /** Selects a row or removes it; a selection of everything ends. */
  readonly toggle: (id: string) => void;
  readonly add: (ids: readonly string[]) => void;
  readonly remove: (ids: readonly string[]) => void;
  readonly addAll: () => void;
  readonly clear: () => void;
}

/** Ids of rows, or everything that matches the filter. */
export type Selected = ReadonlySet<string> | "all";

const NOTHING: ReadonlySet<string> = new Set();

/** `initial` is read once. */
export function useSelection(initial: Selected = NOTHING): Selection {
  const [selected, setSelected] = useState(initial);
  const isAll = selected === "all";
  const ids = isAll ? NOTHING : selected;
  const changes = useMemo(() => selectionChanges(setSelected), []);
  return {
    ids,
    isAll,
    isEmpty: !isAll && ids.size === 0,
    has: (id) => isAll || ids.has(id),
    ...changes,
  };
}

type Changes = Pick<Selection, "toggle" | "add" | "remove" | "addAll" | "clear">;

/** Functions that stay the same, so that a row is rendered again only if it changes. */
function selectionChanges(setSelected: Dispatch<SetStateAction<Selected>>): Changes {
  return {
    toggle: (id) => setSelected((before) => (before === "all" ? NOTHING : toggled(before, id))),
    add: (added) => setSelected((before) => (before === "all" ? before : new Set([...before, ...added]))),
    remove: (removed) => setSelected((before) => (before === "all" ? before : without(before, removed))),
    addAll: () => setSelected("all"),
    clear: () => setSelected(NOTHING),
  };
}

function toggled(ids: ReadonlySet<string>, id: string): ReadonlySet<string> {
  return ids.has(id) ? without(ids, [id]) : new Set([...ids, id]);
}

function without(ids: ReadonlySet<string>, removed: readonly string[]): ReadonlySet<string> {
  return new Set([...ids].filter((id) => !removed.includes(id)));
}
