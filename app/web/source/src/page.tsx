// The page: the bar with the key and the REST link, and GraphiQL below it.

import { DOC_EXPLORER_PLUGIN, DocExplorerStore } from "@graphiql/plugin-doc-explorer";
import { explorerPlugin } from "@graphiql/plugin-explorer";
import { HISTORY_PLUGIN, HistoryStore } from "@graphiql/plugin-history";
import { GraphiQLProvider } from "@graphiql/react";
import { GraphiQLInterface } from "graphiql";
import { useEffect, useMemo } from "react";

import { useAccess } from "./access";
import { ASKING_NOBODY, askingWith } from "./fetcher";
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

// Of the first tab the editor takes the query by itself, but not the variables.
const FIRST_VISIT = STORAGE.length === 0 ? { initialVariables: FIRST_VARIABLES } : {};

// Asks for no schema, which would be answered by an error in the place of the results.
const NO_SCHEMA = { schema: null };

export function Page() {
  const access = useAccess();
  const { key, verdict, refuse } = access;
  const works = verdict.kind === "accepted";
  // A new fetcher makes GraphiQL read the schema again.
  const asking = useMemo(() => (works ? askingWith(key, refuse) : ASKING_NOBODY), [works, key]);
  useEffect(() => () => asking.close(), [asking]);
  return (
    <KeyContext value={key}>
      <GraphiQLProvider
        fetcher={asking.fetcher}
        {...(works ? {} : NO_SCHEMA)}
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
            <KeyField access={access} />
            <RestLink />
          </header>
          <HistoryStore>
            <DocExplorerStore>
              {/* The history would keep a key that was written among the headers. */}
              <GraphiQLInterface isHeadersEditorEnabled={false} showPersistHeadersSettings={false} />
            </DocExplorerStore>
          </HistoryStore>
        </div>
      </GraphiQLProvider>
    </KeyContext>
  );
}
