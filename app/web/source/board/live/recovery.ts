// Repeats a request that has failed when it is likely to succeed.

import { useEffect, useEffectEvent } from "react";

import { isTemporary } from "../relay/server-error";
import { onReconnection } from "./connection";
import { RefreshScheduler } from "./refresh-scheduler";

interface Options {
  readonly error: Error;
  readonly retry: () => void;
  /** True if the request has not been repeated yet: only then, the end of the wait that the server asks for counts. */
  readonly isFirstError: boolean;
}

/** Calls `retry` once after each reconnection, and after the wait that the server asks for with the first error. */
export function useRecovery({ error, retry, isFirstError }: Options): void {
  const onRecovery = useEffectEvent(retry);
  useEffect(() => {
    if (!isTemporary(error)) return;
    const scheduler = new RefreshScheduler(() => onRecovery());
    const schedule = () => scheduler.schedule("retry");
    if (isFirstError && error.retryAfterSeconds !== null) schedule();
    const stopListening = onReconnection(schedule);
    return () => {
      scheduler.stop();
      stopListening();
    };
  }, [error, isFirstError]);
}
