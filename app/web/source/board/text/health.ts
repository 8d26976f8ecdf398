// Words for the health of an account.

import { enumWords, type StatusWords } from "./statuses";

const HEALTH: Readonly<Record<string, StatusWords>> = {
  HEALTHY: { name: "Healthy", icon: "check", tone: "good" },
  WARNING: { name: "Needs attention", icon: "alarm", tone: "warning" },
  BROKEN: { name: "Cannot post", icon: "cross", tone: "bad" },
};

const REASONS: Readonly<Record<string, string>> = {
  ACCOUNT_INACTIVE: "It is disabled or disconnected.",
  NEEDS_RECONNECTION: "The platform rejected its access.",
  RECENT_PERMANENT_FAILURES: "At least three posts failed for good in the last seven days.",
  TOKEN_EXPIRED: "Its access has expired.",
  TOKEN_EXPIRING_SOON: "Its access expires within seven days. Connect it again before that.",
};

/** Reasons why an account cannot post, which the message of its readiness says with what to do. */
const BLOCKING_REASONS = ["ACCOUNT_INACTIVE", "NEEDS_RECONNECTION", "TOKEN_EXPIRED"];

export function isSaidByReadiness(reason: string): boolean {
  return BLOCKING_REASONS.includes(reason);
}

export function healthWords(status: string): StatusWords {
  return HEALTH[status] ?? { name: enumWords(status), icon: "question", tone: "neutral" };
}

export function healthReason(reason: string): string {
  return REASONS[reason] ?? enumWords(reason);
}
