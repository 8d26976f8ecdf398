// The API key of the page and its status. The key is stored only for the browser tab.

import { useEffect, useState } from "react";

import { DEMO_KEY, GRAPHQL_URL, KEY_PREFIX } from "./config";

export type KeyStatus =
  | { kind: "missing" }
  | { kind: "malformed" }
  | { kind: "checking" }
  | { kind: "accepted"; workspace: string; scopes: string[] }
  | { kind: "rejected"; reason: string };

export interface Access {
  key: string;
  setKey(key: string): void;
  status: KeyStatus;
  /** Reports that the server rejected the key after it had accepted it, for example after a revocation. */
  reject(reason: string): void;
}

const STORAGE_NAME = "post-results:key";
const TYPING_PAUSE_MS = 300;
const SECRET_PATTERN = /^[0-9a-f]{32}$/;

export function useAccess(): Access {
  const [key, setKey] = useState(() => sessionStorage.getItem(STORAGE_NAME) || DEMO_KEY);
  const [checked, setChecked] = useState<{ key: string; status: KeyStatus }>();

  useEffect(() => {
    sessionStorage.setItem(STORAGE_NAME, key);
    if (!isWellFormed(key)) return;
    const check = new AbortController();
    const timer = setTimeout(async () => {
      const status = await checkKey(key, check.signal);
      if (!check.signal.aborted) setChecked({ key, status });
    }, TYPING_PAUSE_MS);
    return () => {
      clearTimeout(timer);
      check.abort();
    };
  }, [key]);

  return {
    key,
    setKey,
    // The result of a check applies only to the key that was checked.
    status: checked?.key === key ? checked.status : uncheckedStatus(key),
    // A rejection may arrive after another key was checked.
    reject: (reason) =>
      setChecked((latest) =>
        latest?.key === key ? { key, status: { kind: "rejected", reason } } : latest,
      ),
  };
}

function uncheckedStatus(key: string): KeyStatus {
  if (!key) return { kind: "missing" };
  return { kind: isWellFormed(key) ? "checking" : "malformed" };
}

function isWellFormed(key: string): boolean {
  return key.startsWith(KEY_PREFIX) && SECRET_PATTERN.test(key.slice(KEY_PREFIX.length));
}

const VIEWER_QUERY = "query WhoAmI { viewer { scopes workspace { name } } }";

async function checkKey(key: string, signal: AbortSignal): Promise<KeyStatus> {
  try {
    const response = await fetch(GRAPHQL_URL, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}` },
      body: JSON.stringify({ query: VIEWER_QUERY }),
      signal,
    });
    const { data, errors } = await response.json();
    if (!data?.viewer) return { kind: "rejected", reason: errors[0].message };
    const { scopes, workspace } = data.viewer;
    return { kind: "accepted", workspace: workspace.name, scopes };
  } catch {
    return { kind: "rejected", reason: "The server does not answer. Is it running?" };
  }
}
