// The REST call for the open tab: a link in the header, and a panel with the curl command and response.

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

/** API key of the REST calls. */
export const KeyContext = createContext("");

/** URL of the REST call for the operation in the open tab; null if REST has none. */
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
    return {}; // incomplete while the user types
  }
}

export function RestLink() {
  const { setVisiblePlugin } = useGraphiQLActions();
  const url = useRestUrl();
  if (!url) return <span className="rest-link">REST has no call for this.</span>;
  // Opens the panel, because the browser would follow the link without the key.
  const open = (event: MouseEvent) => {
    event.preventDefault();
    setVisiblePlugin(REST_PLUGIN);
  };
  return (
    <a className="rest-link" href={url} title={url} onClick={open}>
      Same by REST: GET {pathOf(url)}
    </a>
  );
}

function RestPanel() {
  const key = useContext(KeyContext);
  const url = useRestUrl();
  const [response, setResponse] = useState<{ url: string; key: string; text: string }>();

  async function send(url: string) {
    setResponse({ url, key, text: await fetchText(url, key) });
  }

  if (!url) return <p>REST has no call for the operation in this tab.</p>;
  return (
    <section className="rest" aria-label="The same data by REST">
      <h2>GET {pathOf(url)}</h2>
      <pre className="rest-command">{`curl -H 'Authorization: Bearer ${key}' \\\n  '${url}'`}</pre>
      <Button onClick={() => send(url)}>Send</Button>
      {response?.url === url && response.key === key && (
        <pre className="rest-answer">{response.text}</pre>
      )}
    </section>
  );
}

async function fetchText(url: string, key: string): Promise<string> {
  try {
    const response = await fetch(url, { headers: { Authorization: `Bearer ${key}` } });
    return `${response.status} ${response.statusText}\n${JSON.stringify(await response.json(), null, 2)}`;
  } catch {
    return "The server does not answer. Is it running?";
  }
}

function pathOf(url: string): string {
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
