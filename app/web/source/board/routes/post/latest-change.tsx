// The latest change of a post and who made it, also while updates are paused.

import { graphql, useLazyLoadQuery } from "react-relay/hooks";

import type { latestChangeQuery } from "../../relay/__generated__/latestChangeQuery.graphql";
import { Actor } from "../../components/actor";
import { ChangeItem } from "../../components/change-item";

interface Props {
  readonly postId: string;
  readonly fetchKey: number;
}

export function LatestChange({ postId, fetchKey }: Props) {
  const { changes } = useLazyLoadQuery<latestChangeQuery>(
    graphql`
      query latestChangeQuery($postId: UUID!) {
        changes(postId: $postId, first: 1, direction: DESC) {
          nodes {
            actor {
              keyId
              keyName
              person
            }
            ...changeItem_change
          }
        }
      }
    `,
    { postId },
    { fetchKey, fetchPolicy: "store-and-network" },
  );
  const change = changes?.nodes[0];
  if (!change) return null;
  return (
    <p>
      <ChangeItem change={change} /> <Actor actor={change.actor} />
    </p>
  );
}
