// Words for what happened to a post on one account. Each has an icon and a tone, so that color is not needed.

export type Tone = "good" | "bad" | "warning" | "busy" | "neutral";
export type IconName =
  "check" | "cross" | "question" | "arrow" | "clock" | "repeat" | "alarm" | "draft" | "minus";

export interface StatusWords {
  readonly name: string;
  readonly icon: IconName;
  readonly tone: Tone;
}

export interface StatusFields {
  readonly status: string;
  readonly outcome: string;
  readonly errorCode: string | null | undefined;
  readonly isOverdue: boolean;
  readonly nextRetryAt: string | null | undefined;
  readonly scheduledFor: string | null | undefined;
}

const WORDS = {
  published: { name: "Published", icon: "check", tone: "good" },
  failed: { name: "Failed", icon: "cross", tone: "bad" },
  cancelled: { name: "Cancelled", icon: "minus", tone: "neutral" },
  unknown: { name: "Unknown outcome", icon: "question", tone: "warning" },
  publishing: { name: "Publishing", icon: "arrow", tone: "busy" },
  retrying: { name: "Retrying", icon: "repeat", tone: "warning" },
  overdue: { name: "Overdue", icon: "alarm", tone: "bad" },
  scheduled: { name: "Scheduled", icon: "clock", tone: "neutral" },
  draft: { name: "Draft", icon: "draft", tone: "neutral" },
} satisfies Record<string, StatusWords>;

/** Words for a post on one account; a status of a newer server keeps its name. */
export function destinationStatus(destination: StatusFields): StatusWords {
  const state = stateOf(destination);
  return state ? WORDS[state] : unknownWords(destination.status);
}

/** State of a post on one account; null for a status of a newer server. */
export function stateOf(destination: StatusFields): keyof typeof WORDS | null {
  switch (destination.status) {
    case "PUBLISHED":
      return "published";
    case "FAILED":
      if (destination.outcome === "UNKNOWN") return "unknown";
      return destination.errorCode === "CANCELLED" ? "cancelled" : "failed";
    case "PUBLISHING":
      return destination.isOverdue ? "overdue" : "publishing";
    case "QUEUED":
      if (destination.isOverdue) return "overdue";
      if (destination.nextRetryAt) return "retrying";
      return destination.scheduledFor ? "scheduled" : "draft";
    default:
      return null;
  }
}

const POST_WORDS: Readonly<Record<string, StatusWords>> = {
  DRAFT: WORDS.draft,
  SCHEDULED: WORDS.scheduled,
  // Also of a post that is published on one account, and waits for its time or a retry on another.
  PUBLISHING: { ...WORDS.publishing, name: "In progress" },
  PUBLISHED: WORDS.published,
  PARTIALLY_FAILED: { name: "Partly failed", icon: "cross", tone: "bad" },
  FAILED: WORDS.failed,
};

export function postStatus(status: string): StatusWords {
  return POST_WORDS[status] ?? unknownWords(status);
}

/** Words for a post with its results: what is overdue or retried on one account needs more attention than the rest. */
export function postStatusOf(status: string, destinations: readonly StatusFields[]): StatusWords {
  const all = destinations.map(destinationStatus);
  return [WORDS.overdue, WORDS.retrying].find((words) => all.includes(words)) ?? postStatus(status);
}

function unknownWords(name: string): StatusWords {
  return { name: enumWords(name), icon: "question", tone: "neutral" };
}

/** "RATE_LIMITED" as "Rate limited". */
export function enumWords(name: string): string {
  const text = name.replaceAll("_", " ").toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}
