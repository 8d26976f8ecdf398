// How the first post of a workspace is sent, as commands to copy.

import { graphql } from "react-relay/hooks";

import type { firstPostQuery } from "../relay/__generated__/firstPostQuery.graphql";
import { ROOT_PATH } from "../config";
import { useLiveQuery } from "../relay/live-query";
import { apiCommand } from "../text/shell";
import { CopyField } from "./copy-field";
import { ErrorBoundary } from "./error-panel";
import { ArrivalSuspense } from "./loading";

const CONNECT_ACCOUNT = `mutation {
  connectAccount(input: {platform: "x", accountName: "@brand"}) {
    account { accountId }
  }
}`;
/** Number of the first account that a workspace connects. */
const FIRST_ACCOUNT = 1;

/** Nothing if the workspace has posts. The rest of the page does not wait for it. */
export function FirstPost() {
  return (
    <ErrorBoundary>
      {(fetchKey) => (
        <ArrivalSuspense fallback={null}>
          <Commands fetchKey={fetchKey} />
        </ArrivalSuspense>
      )}
    </ErrorBoundary>
  );
}

function Commands({ fetchKey }: { readonly fetchKey: number }) {
  const { posts, accountConnection } = useLiveQuery<firstPostQuery>(
    graphql`
      query firstPostQuery {
        posts(first: 1) {
          nodes {
            id
          }
        }
        accountConnection(first: 1) {
          nodes {
            accountId
          }
        }
      }
    `,
    {},
    { fetchKey },
  );
  if (!posts || posts.nodes.length > 0) return null;
  const account = accountConnection?.nodes[0];
  const server = location.origin + ROOT_PATH;
  const post = { content: "Hello", account_ids: [account?.accountId ?? FIRST_ACCOUNT] };
  return (
    <div className="empty">
      <p>
        No post has been sent to this workspace yet. {account ? "A command sends" : "Two commands send"} the first
        one, with an API key in the variable <code>API_KEY</code> of the shell.
      </p>
      {!account && (
        <CopyField
          label="Connect an account"
          value={apiCommand(`${server}/graphql`, { query: CONNECT_ACCOUNT })}
          rows={5}
        />
      )}
      <CopyField label="Send a post" value={apiCommand(`${server}/v1/posts`, post)} rows={4} />
      {!account && (
        <p className="muted">A server with trusted documents accepts the first command only if it is one of them.</p>
      )}
    </div>
  );
}
