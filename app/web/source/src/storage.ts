// Where the editor keeps tabs and history: local storage, under a name of our own.

import type { Storage } from "@graphiql/toolkit";

const PREFIX = "post-results:";

/** Apart from what GraphiQL pages of other servers left under the same address. */
export const STORAGE: Storage = {
  getItem: (name) => localStorage.getItem(PREFIX + name),
  setItem: (name, value) => localStorage.setItem(PREFIX + name, value),
  removeItem: (name) => localStorage.removeItem(PREFIX + name),
  get length() {
    return ourNames().length;
  },
  clear: () => ourNames().forEach((name) => localStorage.removeItem(name)),
};

function ourNames(): string[] {
  return Object.keys(localStorage).filter((name) => name.startsWith(PREFIX));
}
