// Where to look, and the buttons that record what was found.

import { useId, useRef, useState } from "react";

import { ErrorPanel } from "../../components/error-panel";
import { useShortcuts } from "../../keyboard/shortcuts";
import { useViewer, writeDeniedReason } from "../../session/viewer";
import { webUrl } from "../../text/characters";
import { platformHome, platformName } from "../../text/reasons";
import type { Item } from "./unknown-item";
import { useSettle } from "./settle";

interface Props {
  readonly item: Item;
  readonly onReport: (result: string) => void;
  readonly onNext: () => void;
}

/** Ids of posts on platforms: no spaces and no slashes, which a URL without its scheme has. */
const PLATFORM_ID = /^[^\s/]{1,500}$/;

export function Findings({ item, onReport, onNext }: Props) {
  const { settle, isBusy, error } = useSettle(item, onReport, onNext);
  const field = useRef<HTMLInputElement>(null);
  const [address, setAddress] = useState("");
  const [isRefused, setRefused] = useState(false);
  const disabledReason = writeDeniedReason(useViewer());
  const reasonId = useId();
  const place = webUrl(item.account?.profileUrl) ?? platformHome(item.platform);
  const canAct = disabledReason === null && !isBusy;
  const disabling = {
    "aria-disabled": !canAct,
    "aria-describedby": disabledReason === null ? undefined : reasonId,
  };

  function settlePublished(): void {
    if (!canAct) return;
    const text = address.trim();
    const url = webUrl(text);
    setRefused(!url && !PLATFORM_ID.test(text));
    if (url) settle({ finding: "PUBLISHED", platformPostUrl: text });
    else if (PLATFORM_ID.test(text)) settle({ finding: "PUBLISHED", platformPostId: text });
    else field.current?.focus();
  }

  function settleAbsent(): void {
    if (canAct) settle({ finding: "NOT_PUBLISHED" });
  }

  function settleAbsentAndRetry(): void {
    if (canAct) settle({ finding: "NOT_PUBLISHED" }, "retry");
  }

  useShortcuts({
    o: () => place && window.open(place, "_blank", "noopener,noreferrer"),
    p: () => field.current?.focus(),
    n: settleAbsent,
    N: settleAbsentAndRetry,
    s: onNext,
  });

  return (
    <>
      <form
        className="finding"
        onSubmit={(event) => {
          event.preventDefault();
          settlePublished();
        }}
      >
        <label>
          If it is there: its URL, or its id on {platformName(item.platform)}
          <input
            ref={field}
            value={address}
            onChange={(event) => setAddress(event.target.value)}
            inputMode="url"
            maxLength={2_000}
            autoComplete="off"
            aria-keyshortcuts="p"
            aria-invalid={isRefused}
          />
        </label>
        <button type="submit" className="primary" {...disabling}>
          It is published
        </button>
      </form>
      {isRefused && (
        <p role="alert">Paste the whole URL, with https:// at its beginning, or the id of the post.</p>
      )}
      {error && <ErrorPanel error={error} />}
      {disabledReason !== null && (
        <p id={reasonId} className="disabled-reason">
          {disabledReason}
        </p>
      )}
      <div className="buttons triage-bar">
        {place && (
          <a
            className="button"
            href={place.href}
            target="_blank"
            rel="noopener noreferrer"
            aria-keyshortcuts="o"
          >
            Look on {platformName(item.platform)}
          </a>
        )}
        <button type="button" onClick={settleAbsent} aria-keyshortcuts="n" {...disabling}>
          Not there
        </button>
        <button type="button" onClick={settleAbsentAndRetry} aria-keyshortcuts="Shift+N" {...disabling}>
          Not there, retry
        </button>
        <button type="button" onClick={onNext} aria-keyshortcuts="s">
          Skip
        </button>
      </div>
      <p className="muted keys">
        Keys: o look, p published, n not there, Shift+N not there and retry, s skip, j k move
      </p>
    </>
  );
}
