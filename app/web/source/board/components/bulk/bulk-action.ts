// What a bulk action is for its dialog: a check of what it would change, then calls that change no more than that.

import { enumWords } from "../../text/statuses";

/** Number of objects of one call, so that the progress is visible and the user can stop. */
const CALL_SIZE = 100;

export interface Refusal {
  readonly reason: string;
  readonly count: number;
  /** How to resolve it, in sentences. */
  readonly fix: string;
}

export interface BulkCheck {
  /** Token for the first call; null if nothing can be changed. */
  readonly plan: string | null;
  readonly plannedCount: number;
  readonly refusals: readonly Refusal[];
}

export interface BulkCall {
  /** Token for the next call; null if nothing is left. */
  readonly plan: string | null;
  readonly changedCount: number;
  readonly refusals: readonly Refusal[];
}

export interface BulkAction {
  readonly title: string;
  /** What it changes in words, one phrase for each condition. */
  readonly description: readonly string[];
  readonly texts: BulkTexts;
  readonly check: () => Promise<BulkCheck>;
  /** Changes the next objects of the plan; a repeated call with the same key has no second effect. */
  readonly call: (plan: string, idempotencyKey: string) => Promise<BulkCall>;
}

export interface BulkTexts {
  /** "result" */
  readonly noun: string;
  /** "retried", after "will be" and "were". */
  readonly changed: string;
  /** Label of the button that starts, such as "Retry"; the number follows. */
  readonly verb: string;
}

/** Input of a mutation that plans: a dry run, or a call that changes the next objects of a plan. */
type PlanInput<Filter> =
  | { readonly filter: Filter; readonly dryRun: true; readonly first: number }
  | { readonly plan: string; readonly first: number; readonly idempotencyKey: string };

interface PlanPayload {
  readonly plan: string | null | undefined;
  readonly plannedCount: number | null | undefined;
  readonly changedCount: number;
  readonly refusals: readonly Refusal[];
}

/** An action on all objects that the filter matches, by a mutation that plans. */
export function plannedAction<Filter>(
  about: Pick<BulkAction, "title" | "description" | "texts">,
  filter: Filter,
  send: (input: PlanInput<Filter>) => Promise<PlanPayload>,
): BulkAction {
  return {
    ...about,
    check: async () => {
      const { plan, plannedCount, refusals } = await send({ filter, dryRun: true, first: 1 });
      return { plan: plan ?? null, plannedCount: plannedCount ?? 0, refusals };
    },
    call: async (plan, idempotencyKey) => {
      const { plan: next, changedCount, refusals } = await send({ plan, first: CALL_SIZE, idempotencyKey });
      return { plan: next ?? null, changedCount, refusals };
    },
  };
}

const REASONS: Readonly<Record<string, string>> = {
  ACCOUNT_NEEDS_RECONNECTION: "The account cannot post",
  ALREADY_DRAFT: "It is a draft",
  ALREADY_PUBLISHED: "Already published",
  BEING_PUBLISHED: "Being published right now",
  IMPORTED: "Another service publishes it",
  IN_FLIGHT: "Being published right now",
  NOTHING_QUEUED: "Nothing of it is waiting",
  NOT_FAILED: "Not failed: it waits for its time or for a retry",
  OUTCOME_UNKNOWN: "We do not know whether it went out",
};

export function refusalWords(reason: string): string {
  return REASONS[reason] ?? enumWords(reason);
}
