// Which API key the page uses, and what the server says of it. Keys live as long as the browser's tab.

import { useEffect, useState } from "react";

import { DEMO_KEY, GRAPHQL_URL, KEY_PREFIX } from "./config";

export type Verdict =
  | { kind: "missing" }
  | { kind: "malformed" }
  | { kind: "checking" }
  | { kind: "accepted"; workspace: string; scopes: string[] }
  | { kind: "refused"; reason: string };

export interface Access {
  key: string;
  setKey(key: string): void;
  verdict: Verdict;
  /** To be told when the server refuses the key later on, as after its revocation. */
  refuse(reason: string): void;
}

const STORED = "post-results:key";
const TYPING_PAUSE_MS = 300;
const SECRET = /^[0-9a-f]{32}$/;

export function useAccess(): Access {
  const [key, setKey] = useState(() => sessionStorage.getItem(STORED) || DEMO_KEY);
  const [judged, setJudged] = useState<{ key: string; verdict: Verdict }>();

  useEffect(() => {
    sessionStorage.setItem(STORED, key);
    if (!isWellFormed(key)) return;
    const asking = new AbortController();
    const timer = setTimeout(async () => {
      const verdict = await ask(key, asking.signal);
      if (!asking.signal.aborted) setJudged({ key, verdict });
    }, TYPING_PAUSE_MS);
    return () => {
      clearTimeout(timer);
      asking.abort();
    };
  }, [key]);

  return {
    key,
    setKey,
    // What was said of another key is not said of this one.
    verdict: judged?.key === key ? judged.verdict : unasked(key),
    // A refusal may arrive after another key was judged.
    refuse: (reason) =>
      setJudged((latest) =>
        latest?.key === key ? { key, verdict: { kind: "refused", reason } } : latest,
      ),
  };
}

function unasked(key: string): Verdict {
  if (!key) return { kind: "missing" };
  return { kind: isWellFormed(key) ? "checking" : "malformed" };
}

function isWellFormed(key: string): boolean {
  return key.startsWith(KEY_PREFIX) && SECRET.test(key.slice(KEY_PREFIX.length));
}

const WHO_AM_I = "query WhoAmI { viewer { scopes workspace { name } } }";

async function ask(key: string, signal: AbortSignal): Promise<Verdict> {
  try {
    const response = await fetch(GRAPHQL_URL, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}` },
      body: JSON.stringify({ query: WHO_AM_I }),
      signal,
    });
    const { data, errors } = await response.json();
    if (!data?.viewer) return { kind: "refused", reason: errors[0].message };
    const { scopes, workspace } = data.viewer;
    return { kind: "accepted", workspace: workspace.name, scopes };
  } catch {
    return { kind: "refused", reason: "The server does not answer. Is it running?" };
  }
}
