// Sign-in and sign-out of this browser, and the end of the session in all of its tabs.

import { BOARD_PATH } from "../config";
import { errorOfResponse, errorOfStatus, sendRequest } from "../relay/server-error";
import { ValueStore } from "../store";

/**
 * `unchecked`: the browser may have another session, or none, until the gate has read the viewer again. `ended`
 * shows the sign-in dialog over the page, which keeps its place.
 */
type SessionState = "active" | "unchecked" | "ended";

export const sessionState = new ValueStore<SessionState>("active");

const SESSION_URL = `${BOARD_PATH}/session`;

const tabs = new BroadcastChannel(`post-results${BOARD_PATH}`);
tabs.onmessage = ({ data }: MessageEvent<SessionState>) => sessionState.set(data);

export interface SignInInput {
  readonly key: string;
  readonly person: string;
  readonly readOnly: boolean;
  /** Keeps the scopes to publish, which pages do not need. */
  readonly fullAccess: boolean;
}

/** Exchanges the key for a session, whose cookie scripts cannot read; raises ServerError. */
export async function signIn(input: SignInInput): Promise<void> {
  await request(SESSION_URL, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(input),
  });
  tabs.postMessage("unchecked" satisfies SessionState);
}

/** Ends this session, or those of all browsers that signed in with its key; raises ServerError. */
export async function signOut(sessions: "this" | "all"): Promise<void> {
  await request(`${SESSION_URL}?everywhere=${sessions === "all"}`, { method: "DELETE" });
  tabs.postMessage("ended" satisfies SessionState);
}

/** Called when the server refuses the session: another tab may have signed in meanwhile. */
export function checkSession(): void {
  if (sessionState.value === "active") sessionState.set("unchecked");
}

async function request(url: string, options: RequestInit): Promise<void> {
  const response = await sendRequest(url, options);
  if (response.ok) return;
  const body = (await response.json().catch(() => null)) as Partial<ErrorEnvelope> | null;
  if (!body?.error) throw errorOfStatus(response);
  throw errorOfResponse(body.error, response);
}

interface ErrorEnvelope {
  readonly error: { readonly code: string; readonly message: string };
}
