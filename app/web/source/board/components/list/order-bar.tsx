// Offers the new order of a list that stays as it is while the user is in it.

import { useRef } from "react";

import { useShortcuts } from "../../keyboard/shortcuts";
import type { ListInteraction } from "./list-interaction";
import type { ListUpdates } from "./use-list-updates";

interface Props {
  readonly interaction: ListInteraction;
  readonly updates: ListUpdates;
}

export function OrderBar({ interaction, updates: { difference, showNew } }: Props) {
  const isOffered = interaction.isInUse && difference.isDifferent;
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
