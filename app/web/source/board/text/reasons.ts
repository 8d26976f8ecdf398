// Words for causes of failures and for the next step.

import { enumWords } from "./statuses";

const CATEGORIES: Readonly<Record<string, string>> = {
  AUTH: "The platform rejected the access of the account",
  CONTENT_REJECTED: "The platform rejected the content",
  PERMANENT: "Cannot succeed unchanged",
  RATE_LIMITED: "Rate limit of the platform",
  TRANSIENT: "Temporary failure",
  UNCLASSIFIED: "Unclassified error",
};

const NEXT_ACTIONS: Readonly<Record<string, string>> = {
  CHECK_PLATFORM: "Check on the platform whether it was published",
  CONTACT_PLATFORM: "Resolve what the error names, then retry",
  EDIT_POST: "Edit the post, then publish it again",
  RECONNECT_ACCOUNT: "Reconnect the account, then retry",
  RETRY: "Retry it",
  RETRY_ELSEWHERE: "Retry it in the service that publishes it",
  WAIT: "Nothing: it is retried automatically",
};

const SOURCES: Readonly<Record<string, string>> = {
  USER: "the author of the post",
  PLATFORM: "the platform",
  SYSTEM: "the publisher or this server",
};

export function categoryWords(category: string): string {
  return CATEGORIES[category] ?? enumWords(category);
}

export function nextActionWords(action: string): string {
  return NEXT_ACTIONS[action] ?? enumWords(action);
}

interface FailureFields {
  readonly retryRefusal: string | null | undefined;
  readonly diagnosis: { readonly nextAction: string } | null | undefined;
}

/**
 * The next step after a failure. The diagnosis is that of the time of the failure; whether a retry is possible
 * now, for instance because the account was connected again since then, decides.
 */
export function nextAction({ retryRefusal, diagnosis }: FailureFields): string | null {
  const action = diagnosis?.nextAction ?? null;
  if (action !== "RETRY" && action !== "RECONNECT_ACCOUNT") return action;
  return retryRefusal ? (ACTIONS_BY_REFUSAL[retryRefusal] ?? action) : "RETRY";
}

const ACTIONS_BY_REFUSAL: Readonly<Record<string, string>> = {
  ACCOUNT_NEEDS_RECONNECTION: "RECONNECT_ACCOUNT",
  IMPORTED: "RETRY_ELSEWHERE",
  OUTCOME_UNKNOWN: "CHECK_PLATFORM",
};

/** How to resolve the refusal of a retry; `fix` is the advice of the server, which names parts of its API. */
export function refusalFix(refusal: string, fix: string): string {
  return refusal === "OUTCOME_UNKNOWN"
    ? "Check whether the post is on the platform, then record the result. A retry without a check could publish it twice."
    : fix;
}

/** Who can fix a failure. */
export function sourceWords(source: string, category: string): string {
  if (source === "USER" && category === "AUTH") return "a person with access to the account";
  return SOURCES[source] ?? enumWords(source);
}

const PLATFORMS: Readonly<Record<string, string>> = {
  bluesky: "Bluesky",
  facebook: "Facebook",
  instagram: "Instagram",
  linkedin: "LinkedIn",
  mastodon: "Mastodon",
  pinterest: "Pinterest",
  threads: "Threads",
  tiktok: "TikTok",
  x: "X",
  youtube: "YouTube",
};

/** The platforms that have a name here. */
export const NAMED_PLATFORMS = Object.keys(PLATFORMS);

/** Name of a platform; the set is open, so that an unknown one keeps its name. */
export function platformName(platform: string): string {
  return PLATFORMS[platform] ?? platform;
}

const PLATFORM_HOMES: Readonly<Record<string, string>> = {
  facebook: "https://www.facebook.com/",
  instagram: "https://www.instagram.com/",
  linkedin: "https://www.linkedin.com/",
  pinterest: "https://www.pinterest.com/",
  threads: "https://www.threads.com/",
  tiktok: "https://www.tiktok.com/",
  x: "https://x.com/",
  youtube: "https://www.youtube.com/",
};

/** First page of a platform; null for an unknown one. */
export function platformHome(platform: string): URL | null {
  const home = PLATFORM_HOMES[platform];
  return home === undefined ? null : new URL(home);
}
