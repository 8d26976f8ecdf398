// The steps of a bulk action: check, confirmation, calls one after the other, result.

import { emitReload } from "../../live/events";
import { newIdempotencyKey } from "../../relay/idempotency";
import { CONFLICT, ServerError } from "../../relay/server-error";
import { ValueStore } from "../../store";
import { count, wasOrWere } from "../../text/numbers";
import { showNotice } from "../notices";
import type { BulkAction, BulkCall, Refusal } from "./bulk-action";

export interface BulkState {
  readonly step: "checking" | "confirmation" | "running" | "stopped" | "failed" | "done";
  /** Token for the next call; null before a check has succeeded, and if nothing is left. */
  readonly plan: string | null;
  /** Number of objects that the last check would change; no more are changed after it. */
  readonly plannedCount: number;
  /** Number of all objects that the last check found, also of those that it refused. */
  readonly matchCount: number;
  /** Number of objects changed since the last check. */
  readonly changedCount: number;
  readonly refusals: readonly Refusal[];
  /** Message of the conflict after which the check was repeated. */
  readonly conflict: string | null;
  readonly error: Error | null;
}

const INITIAL_STATE: BulkState = {
  step: "checking",
  plan: null,
  plannedCount: 0,
  matchCount: 0,
  changedCount: 0,
  refusals: [],
  conflict: null,
  error: null,
};

export class BulkRun extends ValueStore<BulkState> {
  private isStopping = false;
  /** Key of a call without a response; it may have had its effect, and is repeated with the same key. */
  private pendingKey: string | null = null;

  constructor(readonly action: BulkAction) {
    super(INITIAL_STATE);
  }

  /** Reads what would be changed; changes nothing. */
  async check(conflict: string | null = null): Promise<void> {
    this.isStopping = false;
    this.set({ ...INITIAL_STATE, conflict });
    try {
      const found = await this.action.check();
      this.update({
        step: "confirmation",
        ...found,
        matchCount: found.plannedCount + refusedCount(found.refusals),
      });
    } catch (error) {
      this.fail(error);
    }
  }

  /** Changes what the check has found, until all of it is changed or the user stops. */
  async run(): Promise<void> {
    this.isStopping = false;
    this.update({ step: "running", error: null });
    try {
      while (this.value.plan !== null && !this.isStopping) await this.callNext(this.value.plan);
      this.end();
    } catch (error) {
      await this.handleError(error);
    }
  }

  /** Makes no call after the current one. */
  stop(): void {
    this.isStopping = true;
  }

  /** Repeats what has failed. */
  async tryAgain(): Promise<void> {
    await (this.value.plan === null ? this.check(this.value.conflict) : this.run());
  }

  private async callNext(plan: string): Promise<void> {
    this.pendingKey ??= newIdempotencyKey();
    const call = await this.action.call(plan, this.pendingKey);
    this.pendingKey = null;
    this.addResult(call);
  }

  private addResult({ plan, changedCount, refusals }: BulkCall): void {
    const { value } = this;
    this.update({
      plan,
      changedCount: value.changedCount + changedCount,
      refusals: merged(value.refusals, refusals),
    });
  }

  private end(): void {
    const { plan, changedCount } = this.value;
    const { noun, changed } = this.action.texts;
    this.update({ step: plan === null ? "done" : "stopped" });
    showNotice(`${count(changedCount, noun)} ${wasOrWere(changedCount)} ${changed}.`);
    emitReload();
  }

  private async handleError(error: unknown): Promise<void> {
    if (!(error instanceof ServerError) || error.code !== CONFLICT) return this.fail(error);
    this.pendingKey = null;
    emitReload();
    const done = this.value.changedCount;
    const before =
      done > 0 ? `${count(done, this.action.texts.noun)} ${this.action.texts.changed} before. ` : "";
    await this.check(`${before}${error.message}`);
  }

  private fail(error: unknown): void {
    this.update({ step: "failed", error: error as Error });
  }

  private update(changes: Partial<BulkState>): void {
    this.set({ ...this.value, ...changes });
  }
}

/** Number of refused objects. */
export function refusedCount(refusals: readonly Refusal[]): number {
  return refusals.reduce((total, refusal) => total + refusal.count, 0);
}

/** Adds the numbers of equal reasons. */
function merged(before: readonly Refusal[], added: readonly Refusal[]): Refusal[] {
  const byReason = new Map(before.map((refusal) => [refusal.reason, refusal]));
  for (const refusal of added) {
    const number = (byReason.get(refusal.reason)?.count ?? 0) + refusal.count;
    byReason.set(refusal.reason, { ...refusal, count: number });
  }
  return [...byReason.values()];
}
