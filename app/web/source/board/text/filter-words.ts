// The filter of a list in words, for people who are about to change everything that it matches.

import type { AccountFilter } from "../url/account-filter";
import type { ResultsView } from "../url/results";
import { type AccountNames } from "./labels";
import { categoryWords, platformName } from "./reasons";
import { enumWords } from "./statuses";
import { shortTime } from "./times";

export const FLAG_WORDS = {
  overdue: "Overdue",
  retrying: "Waits for a retry",
  duplicated: "Published twice",
  invalidContent: "Content does not fit",
  mediaWarning: "Media cannot be loaded",
  cancelled: "Cancelled",
  notCancelled: "Not cancelled",
  awaitsOutcome: "Awaits its result",
  notImported: "Not imported",
};
export const TIME_FIELD_WORDS = {
  scheduled: "Due",
  published: "Published",
  failed: "Failed",
  settled: "Result known",
  updated: "Changed",
  nextRetry: "Next retry",
};

/** Both directions of any order. */
export const DIRECTION_WORDS = { ASC: "earliest or least first", DESC: "latest or greatest first" };

/** A phrase such as "Platform: Instagram or X"; none without values. */
export function filterPhrase(name: string, values: readonly string[]): string[] {
  return values.length > 0 ? [`${name}: ${values.join(" or ")}`] : [];
}

/** An account without a name is called by its number. */
export function accountWords({ platform, account }: AccountFilter, names?: AccountNames): string[] {
  return [
    ...filterPhrase("Platform", platform.map(platformName)),
    ...filterPhrase(
      "Account",
      account.map((number) => names?.get(number) ?? String(number)),
    ),
  ];
}

/** The failures of a group. */
export function groupWords(platform: string, message: string): string {
  return `Failures of ${platformName(platform)} with one cause: “${groupMessage(message)}”`;
}

/** The normalized message of a group, with "…" in place of "<number>" and the other details that differ. */
export function groupMessage(message: string): string {
  return message.replace(/<(url|text|id|number)>/g, "…");
}

/** One phrase for each filter that is set. */
export function filterWords(view: ResultsView, zone: string, now: Date, names?: AccountNames): string[] {
  const time = (name: string, at: Date | null) =>
    at ? [`${TIME_FIELD_WORDS[view.timeField]} ${name} ${shortTime(at, zone, now)}`] : [];
  return [
    ...filterPhrase("Status", view.status.map(enumWords)),
    ...filterPhrase("Outcome", view.outcome.map(enumWords)),
    ...filterPhrase("State", view.flag ? [FLAG_WORDS[view.flag]] : []),
    ...filterPhrase("Cause", view.category.map(categoryWords)),
    ...accountWords(view, names),
    ...filterPhrase("Error code", view.code),
    ...(view.group.length > 0 ? ["Only failures with one cause"] : []),
    ...filterPhrase("Text", view.q ? [`“${view.q}”`] : []),
    ...filterPhrase("Reference", view.reference ? [`“${view.reference}”`] : []),
    ...time("from", view.from),
    ...time("before", view.to),
  ];
}
