// A part of a page with its own data: it has its own skeleton and its own error.

import { useState, type ReactNode } from "react";

import { countEmittedEvents, EventsBeforeLoad } from "../live/events";
import { ErrorBoundary } from "./error-panel";
import { Loading } from "./loading";

interface Props {
  /** Renders the content; the number is the `fetchKey` of its query. */
  readonly children: (fetchKey: number) => ReactNode;
  /** Number of lines of the skeleton, so that the page does not jump. */
  readonly lines?: number;
  /** Renders an error that has an explanation of its own; null for others. */
  readonly explain?: (error: Error) => ReactNode;
}

export function Panel({ children, lines = 6, explain }: Props) {
  const [eventsBeforeLoad] = useState(countEmittedEvents);
  return (
    <ErrorBoundary explain={explain}>
      {(attempt) => (
        <EventsBeforeLoad value={eventsBeforeLoad}>
          <Loading lines={lines}>{children(attempt)}</Loading>
        </EventsBeforeLoad>
      )}
    </ErrorBoundary>
  );
}
