// The changes of a post as sentences, with who made them.

import { graphql } from "react-relay/hooks";

import type { postActivityQuery } from "../../relay/__generated__/postActivityQuery.graphql";
import { Actor } from "../../components/actor";
import { ChangeItem } from "../../components/change-item";
import { useLiveQuery } from "../../relay/live-query";

const query = graphql`
  query postActivityQuery($postId: UUID!) {
    changes(postId: $postId, first: 100, direction: DESC) {
      hasNextPage
      nodes {
        cursor
        actor {
          keyId
          keyName
          person
        }
        ...changeItem_change
      }
    }
  }
`;

interface Props {
  readonly postId: string;
  readonly fetchKey: number;
}

export function PostActivity({ postId, fetchKey }: Props) {
  const { changes } = useLiveQuery<postActivityQuery>(
    query,
    { postId },
    { fetchKey, isRelevant: (change) => change.postId === postId },
  );
  const nodes = changes?.nodes.toReversed() ?? [];
  return (
    <section aria-labelledby="activity">
      <h2 id="activity">What happened</h2>
      {nodes.length === 0 && (
        <p className="muted">Changes are stored for a limited time; those of this post were removed.</p>
      )}
      {changes?.hasNextPage && <p className="muted">These are the latest 100 changes.</p>}
      <ol className="timeline">
        {nodes.map((change) => (
          <li key={change.cursor}>
            <ChangeItem change={change} /> <Actor actor={change.actor} />
          </li>
        ))}
      </ol>
    </section>
  );
}
