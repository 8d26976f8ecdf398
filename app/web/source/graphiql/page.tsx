// The page: a header with the API key and the REST link, and GraphiQL below it.

import { DOC_EXPLORER_PLUGIN, DocExplorerStore } from "@graphiql/plugin-doc-explorer";
import { explorerPlugin } from "@graphiql/plugin-explorer";
import { HISTORY_PLUGIN, HistoryStore } from "@graphiql/plugin-history";
import { GraphiQLProvider } from "@graphiql/react";
import { GraphiQLInterface } from "graphiql";
import { useEffect, useMemo } from "react";

import { useAccess } from "./access";
import { NO_CONNECTION, connect } from "./fetcher";
import { KeyField } from "./key-field";
import { KeyContext, REST_PLUGIN, RestLink } from "./rest";
import { STORAGE } from "./storage";
import { FIRST_VARIABLES, TABS } from "./tabs";

const PLUGINS = [
  DOC_EXPLORER_PLUGIN,
  explorerPlugin({ showAttribution: false }),
  HISTORY_PLUGIN,
  REST_PLUGIN,
];

// On the first visit, GraphiQL takes the query of the first tab, but not its variables.
const FIRST_VISIT = STORAGE.length === 0 ? { initialVariables: FIRST_VARIABLES } : {};

// Prevents an introspection query, whose error would be shown in place of the results.
const NO_SCHEMA = { schema: null };

export function Page() {
  const access = useAccess();
  const { key, status, reject } = access;
  const isAccepted = status.kind === "accepted";
  // GraphiQL reads the schema again for each new fetcher.
  const connection = useMemo(
    () => (isAccepted ? connect(key, reject) : NO_CONNECTION),
    [isAccepted, key],
  );
  useEffect(() => () => connection.close(), [connection]);
  return (
    <KeyContext value={key}>
      <GraphiQLProvider
        fetcher={connection.fetcher}
        {...(isAccepted ? {} : NO_SCHEMA)}
        plugins={PLUGINS}
        referencePlugin={DOC_EXPLORER_PLUGIN}
        defaultTabs={TABS}
        {...FIRST_VISIT}
        storage={STORAGE}
        inputValueDeprecation
        schemaDescription
      >
        <div className="graphiql-container page">
          <header>
            <h1>post-results</h1>
            <a className="guides-link" href="docs" target="_blank" rel="noopener">
              Guides
            </a>
            <KeyField access={access} />
            <RestLink />
          </header>
          <HistoryStore>
            <DocExplorerStore>
              {/* Without headers, because the history would store a key that is entered there. */}
              <GraphiQLInterface isHeadersEditorEnabled={false} showPersistHeadersSettings={false} />
            </DocExplorerStore>
          </HistoryStore>
        </div>
      </GraphiQLProvider>
    </KeyContext>
  );
}
