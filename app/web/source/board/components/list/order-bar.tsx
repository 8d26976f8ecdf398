// Offers the new order of a list that stays as it is while the user is in it.

import { useRef } from "react";

import { useShortcuts } from "../../keyboard/shortcuts";
import type { ListUse } from "./list-use";
import type { ListUpdates } from "./use-list-updates";

interface Props {
  readonly listUse: ListUse;
  readonly updates: ListUpdates;
}

export function OrderBar({ listUse, updates: { difference, showNew } }: Props) {
  const isOffered = listUse.isInUse && difference.isDifferent;
  useShortcuts(isOffered ? { ".": showNew } : {});
  const bar = useRef<HTMLDivElement>(null);
  return (
    <div ref={bar} className="order-bar" tabIndex={-1}>
      {isOffered && (
        <button
          type="button"
          className="pill"
          onClick={() => {
            bar.current!.focus(); // the button disappears
            showNew();
          }}
        >
          The order has changed · show
        </button>
      )}
    </div>
  );
}
