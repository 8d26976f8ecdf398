// Short messages about what has happened, visible and read by screen readers.

import { useEffect, useState } from "react";

import { ValueStore, useStore } from "../store";
import { plainText } from "../text/characters";

/** Number of messages that stay visible. */
const MAX_NOTICES = 3;
/** Time for which a result is visible, unless the pointer or the focus is on it. */
const PASSING_MS = 10_000;
/** Shortest time between two announcements to screen readers. */
const ANNOUNCEMENT_INTERVAL_MS = 10_000;

interface Notice {
  readonly id: number;
  readonly topic: string;
  readonly text: string;
  /** True for a result that needs no reaction: the message closes after some time. */
  readonly isPassing: boolean;
}

const notices = new ValueStore<readonly Notice[]>([]);
let lastId = 0;

/** Shows a message until the user closes it, or until newer ones or one of the same topic replace it. */
export function showNotice(text: string, topic = text): void {
  addNotice({ topic, text, isPassing: false });
}

/** Shows a result that needs no reaction, for some seconds. */
export function showResult(text: string): void {
  addNotice({ topic: text, text, isPassing: true });
}

function addNotice({ topic, text, isPassing }: Omit<Notice, "id">): void {
  lastId += 1;
  const others = notices.value.filter((notice) => notice.topic !== topic);
  notices.set([...others, { id: lastId, topic, text: plainText(text), isPassing }].slice(-MAX_NOTICES));
}

function closeNotice(id: number): void {
  notices.set(notices.value.filter((notice) => notice.id !== id));
}

export function Notices() {
  const shown = useStore(notices);
  const announcement = useAnnouncement(shown.at(-1));
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

function NoticeItem({ notice: { id, text, isPassing } }: { readonly notice: Notice }) {
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
