// Checks a bulk action, shows what it would change, and runs it after a confirmation.

import { useEffect, useRef, type ReactNode } from "react";

import { useStore, ValueStore } from "../../store";
import { count, plainNumber, wasOrWere } from "../../text/numbers";
import { refusalFix } from "../../text/reasons";
import { Dialog } from "../dialog";
import { ErrorMessage } from "../error-panel";
import { UserText } from "../user-text";
import { refusalWords, type BulkAction, type BulkTexts, type Refusal } from "./bulk-action";
import { BulkRun, refusedCount, type BulkState } from "./bulk-run";

const openRun = new ValueStore<BulkRun | null>(null);

/** Checks the action and shows the result; the dialog stays open although the list below it changes. */
export function openBulkDialog(action: BulkAction): void {
  const run = new BulkRun(action);
  openRun.set(run);
  void run.check();
}

/** Place of the dialog, outside of the pages. */
export function BulkDialogHost() {
  const run = useStore(openRun);
  useEffect(() => closeBulkDialog, []); // with its workspace
  return run && <BulkDialog run={run} onClose={() => openRun.set(null)} />;
}

function closeBulkDialog(): void {
  openRun.value?.stop();
  openRun.set(null);
}

interface Props {
  readonly run: BulkRun;
  readonly onClose: () => void;
}

function BulkDialog({ run, onClose }: Props) {
  const { action } = run;
  const state = useStore(run);
  const sentence = useRef<HTMLParagraphElement>(null);
  // The buttons change with the step, so that the focus would be lost.
  useEffect(() => sentence.current?.focus(), [state.step]);
  return (
    <Dialog title={action.title} onClose={state.step === "running" ? () => run.stop() : onClose}>
      <ul className="bulk-description" aria-label="What it is about">
        {action.description.map((phrase) => (
          <li key={phrase}>
            <UserText text={phrase} />
          </li>
        ))}
      </ul>
      {state.conflict && (
        <p className="problem">Something has changed meanwhile, so it was checked again. {state.conflict}</p>
      )}
      <p ref={sentence} tabIndex={-1} className="sentence">
        {stepSentence(state, action.texts)}
      </p>
      {state.step === "running" && (
        <>
          <progress max={state.plannedCount} value={state.changedCount} aria-label="Progress" />
          <p className="muted">
            If you close this page, what is {action.texts.changed} stays so; the rest is left as it is.
          </p>
        </>
      )}
      <Refusals refusals={state.refusals} />
      {state.error && (
        <ErrorMessage error={state.error} onRetry={() => void run.tryAgain()} />
      )}
      <div className="buttons">
        <StepButtons state={state} run={run} texts={action.texts} />
        {state.step !== "running" && (
          <button type="button" onClick={onClose}>
            {state.step === "confirmation" && state.plan !== null ? "Change nothing" : "Close"}
          </button>
        )}
      </div>
    </Dialog>
  );
}

function stepSentence(state: BulkState, { noun, changed }: BulkTexts): string {
  const { step, plannedCount, matchCount, changedCount } = state;
  const of = `${plainNumber(changedCount)} of ${count(matchCount, noun)}`;
  switch (step) {
    case "checking":
      return "Checking, without changing anything…";
    case "confirmation":
      if (matchCount === 0) return `There is nothing that could be ${changed}.`;
      return `${plainNumber(plannedCount)} of ${count(matchCount, noun)} will be ${changed}${refusedWords(state)}`;
    case "running":
      return `${of} ${changed} so far.`;
    case "stopped":
      return `Stopped: ${of} ${wasOrWere(changedCount)} ${changed}${refusedWords(state)}`;
    case "failed":
      return changedCount > 0
        ? `It was interrupted: ${of} ${wasOrWere(changedCount)} ${changed}.`
        : "It did not work.";
    case "done":
      return `${of} ${wasOrWere(changedCount)} ${changed}${refusedWords(state)}${meanwhileWords(state)}`;
  }
}

/** The end of the sentence, before the list of the reasons if there are any. */
function refusedWords({ refusals }: BulkState): string {
  const number = refusedCount(refusals);
  return number > 0 ? `; ${plainNumber(number)} not:` : ".";
}

/** What is neither changed nor refused no longer matches. */
function meanwhileWords({ matchCount, changedCount, refusals }: BulkState): string {
  return changedCount + refusedCount(refusals) < matchCount ? " The others have changed meanwhile." : "";
}

function Refusals({ refusals }: { readonly refusals: readonly Refusal[] }) {
  if (refusals.length === 0) return null;
  return (
    <ul className="refusals" aria-label="Not changed">
      {refusals.map(({ reason, count: number, fix }) => (
        <li key={reason}>
          <strong>{plainNumber(number)}</strong> {refusalWords(reason)}. <span className="muted">{refusalFix(reason, fix)}</span>
        </li>
      ))}
    </ul>
  );
}

interface ButtonsProps {
  readonly state: BulkState;
  readonly run: BulkRun;
  readonly texts: BulkTexts;
}

function StepButtons({ state, run, texts }: ButtonsProps): ReactNode {
  switch (state.step) {
    case "confirmation":
      if (state.plan === null) return null;
      return (
        <button type="button" className="primary" onClick={() => void run.run()}>
          {texts.verb} {count(state.plannedCount, texts.noun)}
        </button>
      );
    case "running":
      return (
        <button type="button" onClick={() => run.stop()}>
          Stop
        </button>
      );
    case "stopped":
      return (
        <button type="button" className="primary" onClick={() => void run.run()}>
          Continue
        </button>
      );
    default:
      return null;
  }
}
