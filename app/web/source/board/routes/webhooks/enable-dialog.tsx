// Enables a webhook, from a chosen position in the changes on.

import { useId, useRef, useState } from "react";

import { Dialog } from "../../components/dialog";
import { ErrorMessage } from "../../components/error-panel";
import { showResult } from "../../components/notices";
import { readLatestCursor } from "../../live/feed";
import { isLostCursor, isRefusal } from "../../relay/server-error";
import type { DialogProps } from "./dialog-props";
import { useWebhookUpdate } from "./update-webhook";

type Start = "missed" | "now";

const STARTS: readonly (readonly [start: Start, name: string])[] = [
  ["missed", "Everything missed since it was disabled"],
  ["now", "Only what happens from now on"],
];

export function EnableDialog({ webhook, onClose }: DialogProps) {
  const name = useId();
  const [start, setStart] = useState<Start>("missed");
  const [error, setError] = useState<Error | null>(null);
  const [isReading, setReading] = useState(false);
  const [send, isSending] = useWebhookUpdate();
  /** Of the first press, so that a repeated one is the same request. */
  const latestCursor = useRef<string | null>(null);
  const isBusy = isReading || isSending;

  async function enable(): Promise<void> {
    setError(null);
    let resumeAfter: string | null = null;
    try {
      setReading(true);
      if (start === "now") resumeAfter = latestCursor.current ??= await readLatestCursor();
    } catch (failure) {
      return setError(failure as Error);
    } finally {
      setReading(false);
    }
    send(
      { webhookId: webhook.webhookId, isActive: true, resumeAfter },
      {
        onCompleted: () => {
          showResult("The webhook is enabled.");
          onClose();
        },
        onError: (failure) => {
          if (isRefusal(failure)) latestCursor.current = null;
          setError(failure);
        },
      },
    );
  }

  return (
    <Dialog title="Enable this webhook?" onClose={onClose}>
      <fieldset className="choices">
        <legend>What it receives</legend>
        {STARTS.map(([value, text]) => (
          <label key={value} className="check">
            <input
              type="radio"
              name={name}
              checked={start === value}
              onChange={() => setStart(value)}
              autoFocus={value === "missed"}
            />
            {text}
          </label>
        ))}
      </fieldset>
      {isLostCursor(error) ? (
        <p className="problem" role="alert">
          What happened since it was disabled is no longer all stored. Choose to send only what happens from
          now on, and let the receiver read the current state.
        </p>
      ) : (
        error && <ErrorMessage error={error} />
      )}
      <div className="buttons">
        <button
          type="button"
          className="primary"
          aria-disabled={isBusy}
          onClick={() => !isBusy && void enable()}
        >
          Enable
        </button>
        <button type="button" onClick={onClose}>
          Leave it disabled
        </button>
      </div>
    </Dialog>
  );
}
