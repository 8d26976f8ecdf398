// Short messages about what has happened; notice-list.tsx shows them.

import { ValueStore } from "../store";
import { plainText } from "../text/characters";

/** Number of messages that stay visible. */
const MAX_NOTICES = 3;

export interface Notice {
  readonly id: number;
  readonly topic: string;
  readonly text: string;
  /** True for a result that needs no reaction: the message closes after some time. */
  readonly isPassing: boolean;
}

export const notices = new ValueStore<readonly Notice[]>([]);
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

export function closeNotice(id: number): void {
  notices.set(notices.value.filter((notice) => notice.id !== id));
}
