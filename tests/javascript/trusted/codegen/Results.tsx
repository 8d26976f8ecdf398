import { graphql } from "./gql";

export const RESULTS = graphql(`
  query Results($postId: UUID!) {
    post(postId: $postId) {
      status
      destinations {
        platform
        status
      }
    }
  }
`);
