// The unknown outcome that is shown ↔ search parameter. A value that is no id is ignored.

import { isUuid } from "./parameters";

const PARAMETER = "item";

/** Id of the outcome to show; null for the first of the list. */
export function parseUnknown(search: string): string | null {
  const id = new URLSearchParams(search).get(PARAMETER)?.trim() ?? "";
  return isUuid(id) ? id.toLowerCase() : null;
}

/** Link to an unknown outcome, below the board; of null, to the first. */
export function unknownPath(destinationId: string | null): string {
  return destinationId === null ? "/unknown" : `/unknown?${PARAMETER}=${destinationId}`;
}
