// The number of changes since the list was read. They are shown without a press of the button unless the list is in
// use.

import { useEffect, useState } from "react";
import { graphql, useRelayEnvironment } from "react-relay/hooks";
import { fetchQuery } from "relay-runtime";

import type {
  newChangesQuery,
  newChangesQuery$variables,
} from "../../relay/__generated__/newChangesQuery.graphql";
import { useShortcuts } from "../../keyboard/shortcuts";
import { useLiveRefresh } from "../../live/events";
import { showRefreshError } from "../../relay/live-query";
import { automaticRequestDelay } from "../../relay/rate-limit";
import { isLostCursor } from "../../relay/server-error";
import { count } from "../../text/numbers";

const query = graphql`
  query newChangesQuery($after: String!, $types: [ChangeType!], $person: String, $keyId: UUID) {
    changes(after: $after, first: 100, types: $types, person: $person, keyId: $keyId) {
      nodes {
        cursor
      }
      hasNextPage
    }
  }
`;

interface Props {
  /** `after` is the cursor after the latest change when the list was read. */
  readonly variables: newChangesQuery$variables;
  /** False while the list must not move. */
  readonly mayShow: boolean;
  /** Reads the list again. */
  readonly onShow: () => void;
}

interface NewChangesFound {
  readonly after: string;
  readonly count: number;
  /** True if not all changes were searched, or the server no longer knows the cursor. */
  readonly mayBeMore: boolean;
}

export function NewChanges({ variables, mayShow, onShow }: Props) {
  const environment = useRelayEnvironment();
  const [found, setFound] = useState<NewChangesFound | null>(null);
  const { after } = variables;

  useLiveRefresh(() => {
    fetchQuery<newChangesQuery>(environment, query, variables).subscribe({
      next: ({ changes }) =>
        setFound({ after, count: changes?.nodes.length ?? 0, mayBeMore: changes?.hasNextPage ?? false }),
      error: (error: Error) =>
        isLostCursor(error) ? setFound({ after, count: 0, mayBeMore: true }) : showRefreshError(error),
    });
  });

  const isNew = found !== null && found.after === after && (found.count > 0 || found.mayBeMore);
  useEffect(() => {
    if (isNew && mayShow && automaticRequestDelay() === 0) onShow();
  }, [isNew, mayShow]);

  useShortcuts(isNew ? { ".": onShow } : {});
  if (!isNew) return null;
  return (
    <button type="button" className="pill" onClick={onShow}>
      {found.mayBeMore ? "New changes" : count(found.count, "new change")} · show
    </button>
  );
}
