// The messages of notices.ts, visible and read by screen readers.

import { useEffect, useState } from "react";

import { useStore } from "../store";
import { serverNow } from "../text/clock";
import { localizeTimes } from "../text/times";
import { useZone } from "../text/zone";
import { closeNotice, notices, type Notice } from "./notices";

/** Time for which a result is visible, unless the pointer or the focus is on it. */
const PASSING_MS = 10_000;
/** Shortest time between two announcements to screen readers. */
const ANNOUNCEMENT_INTERVAL_MS = 10_000;

export function Notices() {
  const shown = useStore(notices);
  const announcement = useLocalTimes(useAnnouncement(shown.at(-1)));
  return (
    <aside className="notices" aria-label="Messages">
      <p role="status" className="visually-hidden">
        {announcement}
      </p>
      {shown.map((notice) => (
        <NoticeItem key={notice.id} notice={notice} />
      ))}
    </aside>
  );
}

function NoticeItem({ notice: { id, isPassing, ...notice } }: { readonly notice: Notice }) {
  const text = useLocalTimes(notice.text);
  const [isPointed, setPointed] = useState(false);
  const [isFocused, setFocused] = useState(false);
  const isEnding = isPassing && !isPointed && !isFocused;
  useEffect(() => {
    if (!isEnding) return;
    const timer = setTimeout(() => closeNotice(id), PASSING_MS);
    return () => clearTimeout(timer);
  }, [id, isEnding]);
  return (
    <div
      className="notice"
      onPointerEnter={() => setPointed(true)}
      onPointerLeave={() => setPointed(false)}
      onFocus={() => setFocused(true)}
      onBlur={() => setFocused(false)}
    >
      <p>{text}</p>
      <button type="button" className="quiet" onClick={() => closeNotice(id)} aria-label={`Close: ${text}`}>
        ×
      </button>
    </div>
  );
}

/** The text, which may be of the server, with its times in the chosen zone. */
function useLocalTimes(text: string): string {
  return localizeTimes(text, useZone(), serverNow());
}

/** The text of the newest message, changed at most every ten seconds. Older ones are not announced again. */
function useAnnouncement(newest: Notice | undefined): string {
  const [announced, setAnnounced] = useState({ id: 0, text: "", at: 0 });
  useEffect(() => {
    if (!newest || newest.id <= announced.id) return;
    const delay = Math.max(0, announced.at + ANNOUNCEMENT_INTERVAL_MS - Date.now());
    const timer = setTimeout(() => setAnnounced({ ...newest, at: Date.now() }), delay);
    return () => clearTimeout(timer);
  }, [newest, announced]);
  return announced.text;
}
