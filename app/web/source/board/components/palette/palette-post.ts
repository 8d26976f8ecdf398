// Finds a post by its id, by the id of one of its results, or by the address at which it was published.

import { fetchQuery, graphql, type Environment, type Observable } from "relay-runtime";

import type { palettePostByUrlQuery } from "../../relay/__generated__/palettePostByUrlQuery.graphql";
import type { palettePostQuery } from "../../relay/__generated__/palettePostQuery.graphql";

/** The id of a post or result, or forms of the address of a publication, the best one first. */
export type PostKey = { readonly id: string } | { readonly urls: readonly string[] };

const byId = graphql`
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

const byUrl = graphql`
  query palettePostByUrlQuery($urls: [String!]!) {
    destinations(first: 20, filter: { platformPostUrl: $urls }) {
      nodes {
        postId
        platformPostUrl
      }
    }
  }
`;

/** Id of the post; null if this workspace has none. Fails with ServerError. */
export function findPost(environment: Environment, key: PostKey): Observable<string | null> {
  if ("urls" in key) {
    return fetchQuery<palettePostByUrlQuery>(environment, byUrl, key).map(
      ({ destinations }) => {
        const nodes = destinations?.nodes ?? [];
        const found = key.urls.map((url) => nodes.find(({ platformPostUrl }) => platformPostUrl === url));
        return (found.find(Boolean) ?? nodes[0])?.postId ?? null;
      },
    );
  }
  return fetchQuery<palettePostQuery>(environment, byId, key).map(
    ({ post, destinations }) => post?.postId ?? destinations?.nodes[0]?.postId ?? null,
  );
}
