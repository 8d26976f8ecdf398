// Offers the new order of a list that stays as it is while the user is in it.

import { useRef } from "react";

import { useShortcuts } from "../../keyboard/shortcuts";
import type { ListUse } from "./list-use";
import type { Membership } from "./use-membership";

interface Props {
  readonly use: ListUse;
  readonly membership: Membership;
}

export function OrderBar({ use, membership: { difference, showNew } }: Props) {
  const isOffered = use.isInUse && difference.isDifferent;
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
