// The error of one panel, which is read again when that is likely to succeed; the other panels of the page stay.

import { Component, useEffect, useState, type ReactNode } from "react";

import { useRecovery } from "../live/recovery";
import { ServerError } from "../relay/server-error";
import { UserText } from "./user-text";

interface MessageProps {
  readonly error: Error;
  readonly onRetry?: () => void;
}

interface PanelProps extends MessageProps {
  /** Number of retries before the error. */
  readonly attempt?: number;
}

/** The error of a request that only reads. */
export function ErrorPanel({ attempt, ...props }: PanelProps) {
  const { error, onRetry = () => undefined } = props;
  useRecovery({ error, retry: onRetry, isFirstError: attempt === 0 });
  return <ErrorMessage {...props} />;
}

/** An error after which nothing is repeated without the user. */
export function ErrorMessage({ error, onRetry }: MessageProps) {
  const { code, requestId, retryAfterSeconds } =
    error instanceof ServerError ? error : new ServerError(error.message, "PAGE_ERROR", null);
  const secondsLeft = useCountdown(error, retryAfterSeconds ?? 0);
  return (
    <div className="error-panel" role="alert">
      <p>
        <UserText text={error.message} />
      </p>
      <p className="muted">
        {code}
        {requestId && ` · request ${requestId}`}
      </p>
      {onRetry && (
        <button type="button" aria-disabled={secondsLeft > 0} onClick={() => secondsLeft === 0 && onRetry()}>
          {secondsLeft > 0 ? `Try again in ${secondsLeft} s` : "Try again"}
        </button>
      )}
    </div>
  );
}

/** Seconds that are left of those since the error. */
function useCountdown(error: Error, seconds: number): number {
  const [left, setLeft] = useState(seconds);
  useEffect(() => setLeft(seconds), [error, seconds]);
  useEffect(() => {
    if (left <= 0) return;
    const timer = setTimeout(() => setLeft(left - 1), 1_000);
    return () => clearTimeout(timer);
  }, [left]);
  return Math.max(0, Math.ceil(left));
}

interface BoundaryProps {
  /** Renders the panel; the number changes with each retry, as the key of the panel's query. */
  readonly children: (attempt: number) => ReactNode;
  /** Renders an error that has an explanation of its own; null for others. */
  readonly explain?: ((error: Error, onRetry: () => void) => ReactNode) | undefined;
}

interface BoundaryState {
  readonly error: Error | null;
  readonly attempt: number;
}

/** Shows the error of its children in their place, and renders them again on request. */
export class ErrorBoundary extends Component<BoundaryProps, BoundaryState> {
  override state: BoundaryState = { error: null, attempt: 0 };

  static getDerivedStateFromError(error: Error): Partial<BoundaryState> {
    return { error };
  }

  override render() {
    const { error, attempt } = this.state;
    if (!error) return this.props.children(attempt);
    const onRetry = () => this.setState({ error: null, attempt: attempt + 1 });
    const explanation = this.props.explain?.(error, onRetry) ?? null;
    if (explanation !== null) return explanation;
    return <ErrorPanel error={error} attempt={attempt} onRetry={onRetry} />;
  }
}
