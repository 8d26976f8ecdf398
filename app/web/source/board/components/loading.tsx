// A skeleton, or something else, in place of content whose data or script has not arrived.

import { Suspense, useEffect, useReducer, type ReactNode, type SuspenseProps } from "react";

import { arrivals } from "../relay/arrivals";

interface Props {
  /** Number of lines of the skeleton, so that the page does not jump. */
  readonly lines: number;
  readonly children: ReactNode;
}

export function Loading({ lines, children }: Props) {
  return <ArrivalSuspense fallback={<Skeleton lines={lines} />}>{children}</ArrivalSuspense>;
}

/**
 * Suspense that renders the content again after each arrival while the fallback is shown. Suspense alone would
 * show it 300 ms after the fallback at the earliest.
 */
export function ArrivalSuspense({ fallback, children }: SuspenseProps) {
  const [, renderAgain] = useReducer((count: number) => count + 1, 0);
  return <Suspense fallback={<Fallback onArrival={renderAgain}>{fallback}</Fallback>}>{children}</Suspense>;
}

interface FallbackProps {
  readonly onArrival: () => void;
  readonly children: ReactNode;
}

function Fallback({ onArrival, children }: FallbackProps) {
  useEffect(() => arrivals.subscribe(onArrival), [onArrival]);
  return children;
}

export function Skeleton({ lines }: { readonly lines: number }) {
  return (
    <div className="skeleton" role="status" aria-label="Loading">
      {Array.from({ length: lines }, (_, index) => (
        <span key={index} />
      ))}
    </div>
  );
}
