// An answer for the customer: plain sentences without codes or names of parts of the software.

import { plainText, truncated } from "./characters";
import { nextAction, platformName } from "./reasons";
import { destinationStatus, stateOf, type StatusFields } from "./statuses";
import { datedTime } from "./times";

interface AnswerDestination extends StatusFields {
  readonly attempts: number;
  readonly platform: string;
  readonly accountName: string | null | undefined;
  readonly publishedAt: string | null | undefined;
  readonly platformPostUrl: string | null | undefined;
  readonly retryRefusal: string | null | undefined;
  readonly diagnosis: { readonly category: string; readonly nextAction: string } | null | undefined;
}

interface AnswerPost {
  readonly content: string;
  readonly destinations: readonly AnswerDestination[] | null | undefined;
}

const QUOTE_LENGTH = 60;

/** Why a post could not be published, by the category of the error; others have no reason for a customer. */
const REASONS: Readonly<Record<string, string>> = {
  AUTH: ", because the platform no longer accepted the access to the account",
  CONTENT_REJECTED: ", because the platform did not accept its content",
  PERMANENT: ", because the platform refused it",
  RATE_LIMITED: ", because the platform accepted no more posts at that time",
  TRANSIENT: ", because the platform was not available",
};

/** Advice to a customer by the next step after a failure. */
const ADVICE: Readonly<Record<string, string>> = {
  RECONNECT_ACCOUNT: "Please connect the account again.",
  EDIT_POST: "Please change the post and publish it again.",
  RETRY: "We can try again.",
  RETRY_ELSEWHERE: "It can be tried again in the service that publishes it.",
  CONTACT_PLATFORM: "Please contact the platform.",
};

export function customerAnswer({ content, destinations }: AnswerPost, zone: string, now: Date): string {
  const subject = content ? `Your post “${truncated(plainText(content), QUOTE_LENGTH)}”:` : "Your post:";
  const lines = (destinations ?? []).map((destination) => `- ${answerLine(destination, zone, now)}`);
  return [subject, ...lines, `All times are those of ${zone}.`].join("\n");
}

function answerLine(destination: AnswerDestination, zone: string, now: Date): string {
  const time = (at: string | null | undefined) => (at ? datedTime(new Date(at), zone) : "");
  const account = plainText(destination.accountName ?? "removed account");
  const where = `${platformName(destination.platform)} (${account})`;
  const reason = REASONS[destination.diagnosis?.category ?? ""] ?? "";
  const advice = ADVICE[nextAction(destination) ?? ""];
  // After a retry, the time for which it was planned has passed.
  const isPlannedTimePast = Date.parse(destination.scheduledFor ?? "") <= now.getTime();
  const isTriedAgain = destination.attempts > 0 && isPlannedTimePast;
  switch (stateOf(destination)) {
    case "published":
      return `${where}: published on ${time(destination.publishedAt)}.${destination.platformPostUrl ? ` ${destination.platformPostUrl}` : ""}`;
    case "failed":
      return `${where}: it could not be published${reason}. ${advice ?? ""}`.trimEnd();
    case "cancelled":
      return `${where}: cancelled before it was published.`;
    case "unknown":
      return `${where}: we are checking whether it was published.`;
    case "retrying":
      return `${where}: not published yet; it is tried again on ${time(destination.nextRetryAt)}.`;
    case "scheduled":
      if (isTriedAgain) return `${where}: it could not be published yet; it is being tried again now.`;
      return `${where}: planned for ${time(destination.scheduledFor)}.`;
    case "overdue":
      if (isTriedAgain) return `${where}: it could not be published yet; we will try again.`;
      return `${where}: late; it was planned for ${time(destination.scheduledFor)}.`;
    case "imported":
      return `${where}: not published when it was last copied from the service that publishes it.`;
    default:
      return `${where}: ${destinationStatus(destination).name.toLowerCase()}.`;
  }
}
