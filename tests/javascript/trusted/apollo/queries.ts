import { gql } from "@apollo/client";

const RESULT = gql`
  fragment Result on Destination {
    platform
    status
  }
`;

export const RESULTS = gql`
  query Results($postId: UUID!) {
    post(postId: $postId) {
      status
      destinations {
        ...Result
      }
    }
  }
  ${RESULT}
`;
