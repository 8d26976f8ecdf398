graphql`
  query ResultsQuery($postId: UUID!) {
    post(postId: $postId) {
      status
      destinations {
        platform
        status
      }
    }
  }
`;
