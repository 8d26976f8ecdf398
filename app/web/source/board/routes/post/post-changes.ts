// The latest changes of a post, which its cards and its log share.

import { useLazyLoadQuery } from "react-relay/hooks";
import { graphql } from "relay-runtime";

import type { postChangesQuery, postChangesQuery$data } from "../../relay/__generated__/postChangesQuery.graphql";

export const postChanges = graphql`
  query postChangesQuery($postId: UUID!) {
    changes(postId: $postId, first: 100, direction: DESC) {
      hasNextPage
      nodes {
        cursor
        destinationId
        happenedAt
        operation
        type
        values
        sentence
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

export type PostChange = NonNullable<postChangesQuery$data["changes"]>["nodes"][number];

/** Operations whose results are shown as attempts or as the due time, or that change nothing for a reader. */
const OPERATIONS_SHOWN_ELSEWHERE = [
  ...["createPost", "createPosts", "import", "loadDemo"],
  ...["claimDestinations", "extendLease", "releaseClaim", "loseLease", "claimVerifications"],
  ...["startAttempt", "reportPublished", "reportFailed", "recordResult"],
];

/** Publications on one account that were reported after the first one, oldest first. */
export function useDuplicates(postId: string, destinationId: string, fetchKey: number) {
  return useChangesOf(postId, destinationId, fetchKey)
    .filter(({ type }) => type === "DESTINATION_DUPLICATED")
    .map(({ cursor, values }) => {
      const { published_at, platform_post_url } = values as Record<string, string | null>;
      return { cursor, publishedAt: published_at!, platformPostUrl: platform_post_url };
    });
}

/** Changes of the post on one account, other than by attempts; oldest first. */
export function useOtherChanges(postId: string, destinationId: string, fetchKey: number): PostChange[] {
  return useChangesOf(postId, destinationId, fetchKey).filter(
    ({ operation }) => !OPERATIONS_SHOWN_ELSEWHERE.includes(operation),
  );
}

/** True if the post has changes before the latest ones, of which any may be of one account. */
export function useHasOlderChanges(postId: string, fetchKey: number): boolean {
  return usePostChanges(postId, fetchKey)?.hasNextPage ?? false;
}

function useChangesOf(postId: string, destinationId: string, fetchKey: number): PostChange[] {
  const { nodes = [] } = usePostChanges(postId, fetchKey) ?? {};
  return nodes.filter((change) => change.destinationId === destinationId).toReversed();
}

function usePostChanges(postId: string, fetchKey: number) {
  return useLazyLoadQuery<postChangesQuery>(postChanges, { postId }, { fetchKey }).changes;
}
