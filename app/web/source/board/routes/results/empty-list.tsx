// A list without rows: because of its filters, or because there are no posts yet.

import { Link } from "wouter";

import { ROOT_PATH } from "../../config";
import { count } from "../../text/numbers";
import { countFilters, type ResultsView } from "../../url/results";

interface Props {
  readonly view: ResultsView;
  readonly hasNew: boolean;
  readonly onShowNew: () => void;
}

export function EmptyList({ view, hasNew, onShowNew }: Props) {
  const filters = countFilters(view);
  return (
    <div className="empty">
      {filters > 0 ? (
        <>
          <p>Nothing matches {filters === 1 ? "this filter" : `these ${count(filters, "filter")}`}.</p>
          <Link href="/results" className="button">
            Show all results
          </Link>
        </>
      ) : (
        <>
          <p>No post has been sent to this workspace yet. Send the first one:</p>
          <pre tabIndex={0}>{firstPost()}</pre>
        </>
      )}
      {hasNew && (
        <button type="button" onClick={onShowNew}>
          Show new results
        </button>
      )}
    </div>
  );
}

function firstPost(): string {
  return [
    `curl ${location.origin}${ROOT_PATH}/v1/posts \\`,
    "  -H 'Authorization: Bearer YOUR_KEY' -H 'Content-Type: application/json' \\",
    `  -d '{"content": "Hello", "account_ids": [1]}'`,
  ].join("\n");
}
