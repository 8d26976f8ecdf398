// The unknown outcome that is shown ↔ search parameter. A value that is no id is ignored.

import { readUuid } from "./parameters";

const PARAMETER = "item";

/** Id of the outcome to show; null for the first of the list. */
export function parseUnknown(search: string): string | null {
  return readUuid(new URLSearchParams(search), PARAMETER);
}

/** Link to an unknown outcome, below the board; of null, to the first. */
export function unknownPath(destinationId: string | null): string {
  return destinationId === null ? "/unknown" : `/unknown?${PARAMETER}=${destinationId}`;
}
