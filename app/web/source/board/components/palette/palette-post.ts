// Finds a post by its id, or by the id of one of its results.

import { fetchQuery, graphql, type Environment, type Observable } from "relay-runtime";

import type { palettePostQuery } from "../../relay/__generated__/palettePostQuery.graphql";

const query = graphql`
  query palettePostQuery($id: UUID!) {
    post(postId: $id) {
      postId
    }
    destinations(first: 1, filter: { destinationId: [$id] }) {
      nodes {
        postId
      }
    }
  }
`;

/** Id of the post; null if this workspace has neither. Fails with ServerError. */
export function findPost(environment: Environment, id: string): Observable<string | null> {
  return fetchQuery<palettePostQuery>(environment, query, { id }).map(
    ({ post, destinations }) => post?.postId ?? destinations?.nodes[0]?.postId ?? null,
  );
}
