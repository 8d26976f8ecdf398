// Counts the responses and scripts that have arrived, for the parts of the page that wait for one.

import { ValueStore } from "../store";

export const arrivals = new ValueStore(0);

/** Records an arrival, after the store has received the response. */
export function recordArrival(): void {
  setTimeout(() => arrivals.set(arrivals.value + 1), 0);
}
