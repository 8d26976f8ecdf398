// The same data by REST: a link to the call, and a panel that shows how to make it and its answer.

import {
  Button,
  useGraphiQL,
  useGraphiQLActions,
  type GraphiQLPlugin,
} from "@graphiql/react";
import { createContext, useContext, useState, type MouseEvent } from "react";

import { REST_URL } from "./config";
import { startOfToday } from "./fetcher";
import { restPath } from "./rest-call";

/** The key that the calls are made with. */
export const KeyContext = createContext("");

/** The URL of the call for the operation in the open tab; null where REST has none. */
function useRestUrl(): string | null {
  const { document, operationName, variables } = useGraphiQL((state) => ({
    document: state.documentAST,
    operationName: state.operationName,
    variables: state.tabs[state.activeTabIndex]?.variables,
  }));
  if (!document) return null;
  const path = restPath(document, operationName, {
    startOfToday: startOfToday(),
    ...parseVariables(variables),
  });
  return path && REST_URL + path;
}

function parseVariables(text: string | null | undefined): Record<string, unknown> {
  try {
    return JSON.parse(text || "{}");
  } catch {
    return {}; // half typed
  }
}

export function RestLink() {
  const { setVisiblePlugin } = useGraphiQLActions();
  const url = useRestUrl();
  if (!url) return <span className="rest-link">REST has no call for this.</span>;
  // A browser that followed the link would send no key.
  const open = (event: MouseEvent) => {
    event.preventDefault();
    setVisiblePlugin(REST_PLUGIN);
  };
  return (
    <a className="rest-link" href={url} title={url} onClick={open}>
      Same by REST: GET {shown(url)}
    </a>
  );
}

function RestPanel() {
  const key = useContext(KeyContext);
  const url = useRestUrl();
  const [answer, setAnswer] = useState<{ url: string; key: string; text: string }>();

  async function send(url: string) {
    setAnswer({ url, key, text: await answerOf(url, key) });
  }

  if (!url) return <p>REST has no call for the operation in this tab.</p>;
  return (
    <section className="rest" aria-label="The same data by REST">
      <h2>GET {shown(url)}</h2>
      <pre className="rest-command">{`curl -H 'Authorization: Bearer ${key}' \\\n  '${url}'`}</pre>
      <Button onClick={() => send(url)}>Send</Button>
      {answer?.url === url && answer.key === key && <pre className="rest-answer">{answer.text}</pre>}
    </section>
  );
}

async function answerOf(url: string, key: string): Promise<string> {
  try {
    const response = await fetch(url, { headers: { Authorization: `Bearer ${key}` } });
    return `${response.status} ${response.statusText}\n${JSON.stringify(await response.json(), null, 2)}`;
  } catch {
    return "The server does not answer. Is it running?";
  }
}

function shown(url: string): string {
  return url.slice(new URL(REST_URL).origin.length);
}

function RestIcon() {
  return (
    <svg viewBox="0 0 24 24" fill="currentColor" stroke="none" fontFamily="sans-serif">
      <text x="12" y="16" fontSize="9.5" fontWeight="700" textAnchor="middle">
        REST
      </text>
    </svg>
  );
}

export const REST_PLUGIN: GraphiQLPlugin = {
  title: "REST",
  icon: RestIcon,
  content: RestPanel,
};
