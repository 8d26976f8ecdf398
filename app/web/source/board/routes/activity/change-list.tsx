// The changes of a view, newest first, in pages; new ones are added while the user is not in the list.

import { useEffect, useState, type ReactNode } from "react";
import { graphql, useLazyLoadQuery, useRelayEnvironment } from "react-relay/hooks";
import { fetchQuery } from "relay-runtime";

import query, {
  type changeListQuery,
  type changeListQuery$variables,
} from "../../relay/__generated__/changeListQuery.graphql";
import { useListInteraction } from "../../components/list/list-interaction";
import { Panel } from "../../components/panel";
import { showRefreshError } from "../../relay/live-query";
import { isLostCursor } from "../../relay/server-error";
import type { ActivityView } from "../../url/activity";
import { ChangeRow } from "./change-row";
import { NewChanges } from "./new-changes";

/** Number of pages that are searched for the next match without a press of the button. */
const SEARCHED_PAGES = 5;

interface Props {
  readonly view: ActivityView;
  /** Time of the visit before this one; null if there was none. */
  readonly lastVisit: string | null;
}

export function ChangeList({ view, lastVisit }: Props) {
  const environment = useRelayEnvironment();
  const interaction = useListInteraction();
  /** Cursors after which the pages start; null for the first. */
  const [pageStarts, setPageStarts] = useState<readonly (string | null)[]>([null]);
  const variablesAt = (start: string | null) => ({ ...filterOf(view), after: start });
  /** Replaces the first page in the store, so that the previous one stays visible until the response arrives. */
  function showNew() {
    setPageStarts([null]);
    fetchQuery<changeListQuery>(environment, query, variablesAt(null)).subscribe({ error: showRefreshError });
  }
  return (
    <div className="changes" {...interaction.container}>
      {pageStarts.map((start, index) => (
        <Panel key={start} lines={12} explain={(error) => (isLostCursor(error) ? <LostPage onRead={showNew} /> : null)}>
          {(fetchKey) => (
            <ChangePage
              view={view}
              variables={variablesAt(start)}
              lastVisit={lastVisit}
              fetchKey={fetchKey}
              nextStart={pageStarts[index + 1] ?? null}
              isSearching={pageStarts.length % SEARCHED_PAGES !== 0}
              onNext={(end) => setPageStarts([...pageStarts.slice(0, index + 1), end])}
              onMoved={() => setPageStarts(pageStarts.slice(0, index + 1))}
            >
              {(latestCursor) =>
                start === null && (
                  <NewChanges
                    variables={{ ...filterOf(view), after: latestCursor }}
                    mayShow={!interaction.isInUse && pageStarts.length === 1}
                    onShow={showNew}
                  />
                )
              }
            </ChangePage>
          )}
        </Panel>
      ))}
    </div>
  );
}

/** In place of a page whose cursor the server does not know, for instance after it restored a backup. */
function LostPage({ onRead }: { readonly onRead: () => void }) {
  return (
    <div className="empty" role="alert">
      <p>The list cannot be continued here, because the stored changes are others now.</p>
      <button type="button" onClick={onRead}>
        Read the list again
      </button>
    </div>
  );
}

interface PageProps extends Props {
  readonly variables: changeListQuery$variables;
  readonly fetchKey: number;
  /** Start of the page that follows; null if this is the last one. */
  readonly nextStart: string | null;
  /** True if the next page follows automatically where nothing matches. */
  readonly isSearching: boolean;
  readonly onNext: (start: string) => void;
  /** Called when this page ends elsewhere than where the next one starts. */
  readonly onMoved: () => void;
  /** Renders what stands above the changes; the cursor is that after the latest change. */
  readonly children: (latestCursor: string) => ReactNode;
}

function ChangePage({
  view,
  variables,
  lastVisit,
  fetchKey,
  nextStart,
  isSearching,
  onNext,
  onMoved,
  children,
}: PageProps) {
  const { changes } = useLazyLoadQuery<changeListQuery>(
    graphql`
      query changeListQuery($after: String, $types: [ChangeType!], $person: String, $keyId: UUID) {
        changes(
          after: $after
          first: 100
          types: $types
          person: $person
          keyId: $keyId
          direction: DESC
        ) {
          nodes {
            cursor
            happenedAt
            ...changeRow_change
          }
          endCursor
          hasNextPage
          latestCursor
        }
      }
    `,
    variables,
    { fetchKey, fetchPolicy: "store-and-network" },
  );
  const nodes = changes?.nodes ?? [];
  const isEmpty = nodes.length === 0;
  const isLast = nextStart === null;
  const next = isLast && changes?.hasNextPage ? changes.endCursor : null;
  const hasMoved = !isLast && changes != null && changes.endCursor !== nextStart;
  useEffect(() => {
    if (isEmpty && isSearching && next !== null) onNext(next);
  }, [isEmpty, isSearching, next]);
  useEffect(() => {
    if (hasMoved) onMoved();
  }, [hasMoved]);
  return (
    <>
      {changes && children(changes.latestCursor)}
      {!isEmpty && (
        <ol className="timeline">
          {nodes.map((change) => (
            <ChangeRow
              key={change.cursor}
              change={change}
              view={view}
              isNew={lastVisit !== null && change.happenedAt > lastVisit}
            />
          ))}
        </ol>
      )}
      {next !== null && (
        <p>
          <button type="button" onClick={() => onNext(next)}>
            {isEmpty ? "No match yet: search earlier changes" : "Show earlier changes"}
          </button>
        </p>
      )}
      {isLast && changes?.hasNextPage === false && (
        <p className="muted">
          {variables.after === null && isEmpty ? nothingYet(view) : "No earlier changes are stored."}
        </p>
      )}
    </>
  );
}

function nothingYet({ types, person, key }: ActivityView): string {
  return types.length > 0 || person || key ? "No such change yet." : "No change yet.";
}

function filterOf({ types, person, key }: ActivityView) {
  return { types: types.length > 0 ? types : null, person, keyId: key };
}
