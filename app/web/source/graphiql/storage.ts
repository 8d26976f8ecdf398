// Stores tabs and history of the editor in local storage, under a prefix of this page.

import type { Storage } from "@graphiql/toolkit";

const PREFIX = "post-results:";

/** Separate from the entries of other GraphiQL pages at the same origin. */
export const STORAGE: Storage = {
  getItem: (name) => localStorage.getItem(PREFIX + name),
  setItem: (name, value) => localStorage.setItem(PREFIX + name, value),
  removeItem: (name) => localStorage.removeItem(PREFIX + name),
  get length() {
    return storedNames().length;
  },
  clear: () => storedNames().forEach((name) => localStorage.removeItem(name)),
};

function storedNames(): string[] {
  return Object.keys(localStorage).filter((name) => name.startsWith(PREFIX));
}
