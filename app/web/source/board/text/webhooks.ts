// Words for webhooks, the events that they receive, and the deliveries of events.

import { plainText } from "./characters";
import { enumWords, type StatusWords } from "./statuses";

/** Types of events that exist, by what they are about; those of media are never sent. */
export const EVENT_GROUPS = [
  {
    name: "Posts",
    events: [
      "POST_SCHEDULED",
      "POST_UPDATED",
      "POST_DELETED",
      "POST_PUBLISHING",
      "POST_PUBLISHED",
      "POST_FAILED",
      "POST_PARTIALLY_FAILED",
    ],
  },
  { name: "Accounts", events: ["ACCOUNT_CONNECTED", "ACCOUNT_DISCONNECTED", "ACCOUNT_RECONNECT_NEEDED"] },
  { name: "Webhooks", events: ["WEBHOOK_DISABLED"] },
] as const;

export type EventType = (typeof EVENT_GROUPS)[number]["events"][number];

export const EVENT_TYPES: readonly EventType[] = EVENT_GROUPS.flatMap(({ events }) => [...events]);

const EVENT_WORDS: Readonly<Record<string, string>> = {
  POST_SCHEDULED: "Post scheduled",
  POST_UPDATED: "Post edited, cancelled or submitted",
  POST_DELETED: "Post deleted",
  POST_PUBLISHING: "Publishing started",
  POST_PUBLISHED: "Post published",
  POST_FAILED: "Post failed, or its outcome is unknown",
  POST_PARTIALLY_FAILED: "Post partly failed",
  ACCOUNT_CONNECTED: "Account connected",
  ACCOUNT_DISCONNECTED: "Account disconnected",
  ACCOUNT_RECONNECT_NEEDED: "Account needs reconnection",
  WEBHOOK_DISABLED: "Another webhook disabled",
} satisfies Record<EventType, string>;

/** A type of a newer server keeps its name. */
export function eventWords(event: string): string {
  return EVENT_WORDS[event] ?? enumWords(event);
}

/** "All events", or the events that a webhook receives, in the order of the form. */
export function eventListWords(events: readonly string[]): string {
  if (EVENT_TYPES.every((event) => events.includes(event))) return "All events";
  const others = events.filter((event) => !EVENT_TYPES.some((known) => known === event));
  return [...EVENT_TYPES.filter((event) => events.includes(event)), ...others].map(eventWords).join(" · ");
}

export interface WebhookStateFields {
  readonly isActive: boolean;
  readonly disabledReason: string | null | undefined;
  readonly failingSince: string | null | undefined;
  readonly lastSuccessAt: string | null | undefined;
  readonly secretError: string | null | undefined;
}

const DISABLED_REASONS: Readonly<Record<string, string>> = {
  GONE: "the receiver no longer exists",
  FAILING: "every delivery failed for five days",
};

export function webhookState({
  isActive,
  disabledReason,
  failingSince,
  lastSuccessAt,
  secretError,
}: WebhookStateFields): StatusWords {
  if (!isActive && !disabledReason) return { name: "Disabled by a person", icon: "minus", tone: "neutral" };
  if (!isActive) {
    const reason = DISABLED_REASONS[disabledReason!] ?? enumWords(disabledReason!);
    return { name: `Disabled: ${reason}`, icon: "cross", tone: "bad" };
  }
  if (secretError) return { name: "Cannot be signed", icon: "cross", tone: "bad" };
  if (failingSince) return { name: "Failing", icon: "alarm", tone: "warning" };
  if (lastSuccessAt) return { name: "Works", icon: "check", tone: "good" };
  return { name: "Nothing sent yet", icon: "clock", tone: "neutral" };
}

export const DELIVERY_STATUSES = ["PENDING", "RETRYING", "DELIVERED", "GIVEN_UP"] as const;

export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

const DELIVERY_WORDS: Readonly<Record<string, StatusWords>> = {
  PENDING: { name: "Waiting", icon: "clock", tone: "neutral" },
  RETRYING: { name: "Retrying", icon: "repeat", tone: "warning" },
  DELIVERED: { name: "Delivered", icon: "check", tone: "good" },
  GIVEN_UP: { name: "Given up", icon: "cross", tone: "bad" },
} satisfies Record<DeliveryStatus, StatusWords>;

/** A status of a newer server keeps its name. */
export function deliveryStatus(status: string): StatusWords {
  return DELIVERY_WORDS[status] ?? { name: enumWords(status), icon: "question", tone: "neutral" };
}

interface LabelFields {
  readonly name: string | null | undefined;
  readonly url: string;
}

/** Name of a webhook, or else the host of its URL, whose path may contain a secret. */
export function webhookLabel({ name, url }: LabelFields): string {
  if (name) return name;
  return URL.canParse(url) ? new URL(url).host : url;
}

/** The same for places without markup. */
export function plainWebhookLabel(webhook: LabelFields): string {
  return plainText(webhookLabel(webhook));
}

/** Settings of a webhook, as the form has them. */
export interface WebhookSettings {
  readonly url: string;
  readonly name: string;
  readonly description: string;
  readonly events: readonly string[];
  readonly platforms: readonly string[];
  readonly accountIds: readonly number[];
}

/** The settings that differ: the server checks again what it receives, also what was valid before. */
export function changedSettings(before: WebhookSettings, after: WebhookSettings): Partial<WebhookSettings> {
  const entries = Object.entries(after).filter(
    ([name, value]) => sortedJson(value) !== sortedJson(before[name as keyof WebhookSettings]),
  );
  return Object.fromEntries(entries) as Partial<WebhookSettings>;
}

/** The order of a list has no meaning. */
function sortedJson(value: string | readonly (string | number)[]): string {
  return JSON.stringify(typeof value === "string" ? value : value.map(String).toSorted());
}

/** The JSON text with line breaks; another text unchanged. */
export function formattedJson(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
