// The compiler must report the error in the comment of each line that has one.
import type { GraphQLClient } from "graphql-request";
import { useFragment } from "./gql";
import { EverythingDocument, OutcomeFragmentDoc, PageDocument } from "./gql/graphql";
import type { PageQueryVariables } from "./operations";

export async function mistakes(client: GraphQLClient, postId: string): Promise<void> {
  await client.request(PageDocument, {}); // TS2741
  const { post } = await client.request(EverythingDocument, { postId });
  console.log(post.content); // TS18047
  const status: "DONE" | undefined = post?.status; // TS2322
  const [outcome] = useFragment(OutcomeFragmentDoc, post?.destinations ?? []);
  console.log(status, outcome?.error); // TS2339
}

export const misspelt: PageQueryVariables = {
  first: 20,
  filter: { status: ["FAIL"] }, // TS2322
};
