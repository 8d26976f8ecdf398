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
  readonly awaitsOutcome: boolean;
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
  // The last state at the source, which no one here follows.
  imported: { name: "Imported unfinished", icon: "minus", tone: "neutral" },
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
      if (destination.isOverdue) return "overdue";
      return destination.awaitsOutcome ? "publishing" : "imported";
    case "QUEUED":
      if (destination.isOverdue) return "overdue";
      if (!destination.scheduledFor) return "draft";
      if (!destination.awaitsOutcome) return "imported";
      return destination.nextRetryAt ? "retrying" : "scheduled";
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
  // Without its results, an unknown outcome looks like a failure.
  PARTIALLY_FAILED: { ...WORDS.failed, name: "Partly failed or unknown" },
  FAILED: { ...WORDS.failed, name: "Failed or unknown" },
};

/** Words for a post without its results. */
export function postStatus(status: string): StatusWords {
  return POST_WORDS[status] ?? unknownWords(status);
}

/**
 * Words for a post with its results: what is unknown, overdue or retried on one account needs the most attention.
 * What was imported unfinished comes next, because the status of such a post is the last one at its source.
 */
export function postStatusOf(status: string, destinations: readonly StatusFields[]): StatusWords {
  const all = destinations.map(destinationStatus);
  const urgent = [WORDS.unknown, WORDS.overdue, WORDS.retrying, WORDS.imported].find((words) =>
    all.includes(words),
  );
  return urgent ?? finalStatus(all) ?? postStatus(status);
}

/** Words for a post that is published, failed or cancelled on each account; null for another one. */
function finalStatus(all: readonly StatusWords[]): StatusWords | null {
  const final: readonly StatusWords[] = [WORDS.published, WORDS.failed, WORDS.cancelled];
  if (all.length === 0 || !all.every((words) => final.includes(words))) return null;
  const attempted = all.filter((words) => words !== WORDS.cancelled);
  if (attempted.length === 0) return WORDS.cancelled;
  if (attempted.every((words) => words === WORDS.failed)) return WORDS.failed;
  if (attempted.includes(WORDS.failed)) return { ...WORDS.failed, name: "Partly failed" };
  return attempted.length < all.length
    ? { ...WORDS.published, name: "Published, partly cancelled" }
    : WORDS.published;
}

function unknownWords(name: string): StatusWords {
  return { name: enumWords(name), icon: "question", tone: "neutral" };
}

/** "RATE_LIMITED" as "Rate limited". */
export function enumWords(name: string): string {
  const text = name.replaceAll("_", " ").toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}
