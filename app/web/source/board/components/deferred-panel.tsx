// A panel whose content stays visible, dimmed, until that for another value has arrived.

import { useDeferredValue, useMemo, type ReactNode } from "react";

import { countEmittedEvents, EventsBeforeLoad } from "../live/events";
import { ErrorBoundary } from "./error-panel";
import { Loading } from "./loading";

interface Props {
  /** What the content depends on; another value has other data, selections and errors. */
  readonly value: string;
  /** Renders the content for a value; the number is the `fetchKey` of its query. */
  readonly children: (value: string, fetchKey: number) => ReactNode;
  /** Number of lines of the skeleton of the first content, so that the page does not jump. */
  readonly lines: number;
}

export function DeferredPanel({ value, children, lines }: Props) {
  const shown = useDeferredValue(value);
  const eventsBeforeLoad = useMemo(countEmittedEvents, [value]);
  return (
    <div className="deferred" aria-busy={shown !== value}>
      <EventsBeforeLoad value={eventsBeforeLoad}>
        <Loading lines={lines}>
          {/* Below Loading, because React shows the skeleton of a new one. */}
          <ErrorBoundary key={shown}>{(attempt) => children(shown, attempt)}</ErrorBoundary>
        </Loading>
      </EventsBeforeLoad>
    </div>
  );
}
