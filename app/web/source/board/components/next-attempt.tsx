// When a delivery is attempted next, or since when it is due.

import { TimeWithDistance, useNow } from "./time";

export function NextAttempt({ at }: { readonly at: string }) {
  const isDue = new Date(at) <= useNow();
  return (
    <small className="muted">
      {isDue ? " attempt due " : " next attempt "}
      <TimeWithDistance at={at} />
    </small>
  );
}
