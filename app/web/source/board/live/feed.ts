// Receives the changes of the workspace for the whole page, and continues after the last one it has received.

import {
  getRequest,
  graphql,
  Observable,
  type GraphQLResponse,
  type GraphQLSingularResponse,
  type Store,
  type SubscribeFunction,
} from "relay-runtime";

import { showNotice, showResult } from "../components/notices";
import type { feedLatestCursorQuery$data } from "../relay/__generated__/feedLatestCursorQuery.graphql";
import { fetchDocument } from "../relay/fetch";
import { recordChangedObjects } from "../relay/outdated-objects";
import {
  errorOfSubscription,
  isLostCursor,
  UNKNOWN_DOCUMENT_CODES,
  type ServerError,
} from "../relay/server-error";
import { checkSession, sessionState } from "../session/session-store";
import { count } from "../text/numbers";
import { Coalescer } from "./coalescer";
import { isPaused, recordContact, recordDisconnection } from "./connection";
import { emitChanges, emitReload, type ChangeEvent } from "./events";
import { showNewVersionNotice } from "./page-check";
import { waitForReconnection } from "./reconnection";
import { createSocketClient } from "./socket";

const VISIBLE_INTERVAL_MS = 250;
const HIDDEN_INTERVAL_MS = 2_000;
/** Time that a subscription must stay open to count as connected: the server may still refuse it. */
const CONFIRMATION_MS = 1_500;
/** Close codes of a socket whose session has ended. */
const SESSION_ENDED_CODES = [4401, 4403];

const latestCursorQuery = graphql`
  query feedLatestCursorQuery {
    changes(first: 1) {
      latestCursor
    }
  }
`;

interface Change extends ChangeEvent {
  readonly cursor: string;
  readonly post: { readonly id: string } | null;
  readonly destination: { readonly id: string } | null;
  readonly account: { readonly id: string } | null;
}

type Response = GraphQLSingularResponse & { readonly data: { readonly changes: Change } };

/** Function by which Relay subscribes to the changes; objects that `store` does not have are not added. */
export function createChangeFeed(store: Store): SubscribeFunction {
  return ({ id }, { after }) =>
    Observable.create((sink) => {
      const feed = new ChangeFeed(store, (batch) => sink.next(batch), id!, after as string);
      const applyPause = () => feed.setPaused(isPaused.value);
      applyPause();
      const stopListening = isPaused.subscribe(applyPause);
      void feed.run();
      return () => {
        stopListening();
        feed.stop();
      };
    });
}

class ChangeFeed {
  private readonly aborter = new AbortController();
  private readonly changes = new Coalescer<Response>({
    deliver: (batch) => this.deliver(batch),
    reload: emitReload,
    interval: () => (document.hidden ? HIDDEN_INTERVAL_MS : VISIBLE_INTERVAL_MS),
    now: () => performance.now(),
  });
  /** Attempts since the last one whose subscription was open. */
  private failedAttempts = 0;
  /** True from a disconnection until the next subscription has stayed open. */
  private isCatchingUp = false;
  private missedChanges = 0;

  constructor(
    private readonly store: Store,
    /** Patches the store. */
    private readonly apply: (batch: GraphQLResponse) => void,
    private readonly documentId: string,
    private cursor: string,
  ) {}

  async run(): Promise<void> {
    const { signal } = this.aborter;
    while (!signal.aborted) {
      await this.receiveUntilEnd();
      if (signal.aborted) return;
      this.isCatchingUp = true;
      recordDisconnection();
      await waitForReconnection(this.failedAttempts, signal);
      await waitForSession(signal);
      this.failedAttempts += 1;
    }
  }

  stop(): void {
    this.aborter.abort();
    this.changes.cancel();
  }

  setPaused(isPausedNow: boolean): void {
    if (isPausedNow) this.changes.pause();
    else this.changes.resume();
  }

  /** Uses one socket for each attempt, because a refused subscription leaves its socket open. */
  private async receiveUntilEnd(): Promise<void> {
    const client = createSocketClient();
    const dispose = () => void client.dispose();
    this.aborter.signal.addEventListener("abort", dispose);
    let confirmation: ReturnType<typeof setTimeout> | undefined;
    client.on("connected", () => {
      confirmation = setTimeout(() => this.confirm(), CONFIRMATION_MS);
    });
    // The client requires a text, although the id is enough for the server.
    const payload = { query: "", documentId: this.documentId, variables: { after: this.cursor } };
    try {
      for await (const response of client.iterate(payload)) this.receive(response as Response);
    } catch (end) {
      clearTimeout(confirmation);
      if (!this.aborter.signal.aborted) await this.handleEnd(end);
    } finally {
      clearTimeout(confirmation);
      this.aborter.signal.removeEventListener("abort", dispose);
      dispose();
    }
  }

  private receive(response: Response): void {
    if (response.errors) throw response.errors;
    this.recordOpen();
    const { changes } = response.data;
    this.cursor = changes.cursor;
    if (this.isCatchingUp) this.missedChanges += 1;
    this.changes.add(response);
  }

  private recordOpen(): void {
    this.failedAttempts = 0;
    recordContact();
  }

  /** Called when the subscription has stayed open; the missed changes have arrived until then. */
  private confirm(): void {
    this.recordOpen();
    if (!this.isCatchingUp) return;
    this.isCatchingUp = false;
    const missed = this.missedChanges;
    showResult(missed > 0 ? `Connected again: caught up with ${count(missed, "change")}.` : "Connected again.");
    this.missedChanges = 0;
  }

  private async handleEnd(end: unknown): Promise<void> {
    const error = errorOfSubscription(end);
    if (end instanceof CloseEvent && SESSION_ENDED_CODES.includes(end.code)) checkSession();
    else if (isLostCursor(error)) await this.continueAtLatest();
    else if (error) reportRefusal(error);
  }

  /** Continues with the next change, and makes the views read again what they show. */
  private async continueAtLatest(): Promise<void> {
    const latest = await readLatestCursor().catch(() => null);
    if (latest === null) return; // the next attempt is refused like this one
    this.cursor = latest;
    showNotice("The page was disconnected for too long, so all its data was loaded again.");
    emitReload();
  }

  private deliver(batch: readonly Response[]): void {
    recordChangedObjects(batch.flatMap(({ data }) => objectIds(data.changes)));
    const source = this.store.getSource();
    const known = batch.filter(({ data }) => objectIds(data.changes).some((id) => source.has(id)));
    // Relay takes several responses at a time, and then notifies components once.
    if (known.length > 0) this.apply(known);
    emitChanges(batch.map(({ data }) => data.changes));
  }
}

function objectIds({ post, destination, account }: Change): string[] {
  return [post, destination, account].flatMap((object) => (object ? [object.id] : []));
}

function reportRefusal({ code, message }: ServerError): void {
  if (UNKNOWN_DOCUMENT_CODES.includes(code)) showNewVersionNotice();
  else showNotice(`Live changes do not arrive. ${message}`, "feed");
}

/** Cursor after the latest change; raises ServerError. */
export async function readLatestCursor(): Promise<string> {
  const { data } = (await fetchDocument(getRequest(latestCursorQuery).params, {})) as {
    readonly data: feedLatestCursorQuery$data;
  };
  return data.changes!.latestCursor;
}

/** Resolves when the browser is known to have a session, or on abort. */
function waitForSession(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const resolveAtEnd = () => {
      if (sessionState.value !== "active" && !signal.aborted) return;
      stopListening();
      signal.removeEventListener("abort", resolveAtEnd);
      resolve();
    };
    const stopListening = sessionState.subscribe(resolveAtEnd);
    signal.addEventListener("abort", resolveAtEnd);
    resolveAtEnd();
  });
}
