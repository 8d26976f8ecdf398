// Compiles only if the generated types fit the clients, the documents and each other. Never executed.
import type { ApolloClient } from "@apollo/client";
import type { Client } from "@urql/core";
import type { GraphQLClient } from "graphql-request";
import { useFragment } from "./gql";
import { NodeDocument, EverythingDocument, OutcomeFragmentDoc, PageDocument } from "./gql/graphql";
import type { NextAction, PageQueryVariables } from "./operations";

export async function nextActions(apollo: ApolloClient, postId: string): Promise<NextAction[]> {
  const { data } = await apollo.query({ query: EverythingDocument, variables: { postId } });
  return (data?.post?.destinations ?? []).flatMap((destination) => {
    const { diagnosis } = useFragment(OutcomeFragmentDoc, destination);
    return diagnosis ? [diagnosis.nextAction] : [];
  });
}

export async function page(urql: Client, variables: PageQueryVariables): Promise<string[]> {
  const { data } = await urql.query(PageDocument, variables);
  const outcomes = useFragment(OutcomeFragmentDoc, data?.destinations?.nodes ?? []);
  return outcomes.map(({ platform, publishedAt }) => `${platform} ${publishedAt ?? "never"}`);
}

export async function nameOf(client: GraphQLClient, id: string): Promise<string | undefined> {
  const { node } = await client.request(NodeDocument, { id });
  switch (node?.__typename) {
    case "Post":
      return node.content;
    case "Account":
      return node.accountName;
    case "Destination":
      return useFragment(OutcomeFragmentDoc, node).platform;
  }
}

export const failedOnX: PageQueryVariables = {
  first: 20,
  filter: { status: ["FAILED"], platform: ["x"], publishedAfter: null },
  orderBy: { field: "NEXT_RETRY_AT" },
};
