// A skeleton in place of content whose data or script has not arrived.

import { Suspense, useEffect, useReducer, type ReactNode } from "react";

import { arrivals } from "../live/arrivals";

interface Props {
  /** Number of lines of the skeleton, so that the page does not jump. */
  readonly lines: number;
  readonly children: ReactNode;
}

/**
 * Renders the content again after each arrival while the skeleton is shown. Suspense alone would show it 300 ms
 * after the skeleton at the earliest.
 */
export function Loading({ lines, children }: Props) {
  const [, renderAgain] = useReducer((count: number) => count + 1, 0);
  return (
    <Suspense fallback={<SuspendedSkeleton lines={lines} onArrival={renderAgain} />}>{children}</Suspense>
  );
}

interface SuspendedProps {
  readonly lines: number;
  readonly onArrival: () => void;
}

function SuspendedSkeleton({ lines, onArrival }: SuspendedProps) {
  useEffect(() => arrivals.subscribe(onArrival), [onArrival]);
  return <Skeleton lines={lines} />;
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
