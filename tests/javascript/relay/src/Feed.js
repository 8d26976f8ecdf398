graphql`
  query FeedQuery($filter: PostFilter, $count: Int!) {
    ...Feed_posts @arguments(filter: $filter, count: $count)
  }
`;

graphql`
  fragment Feed_posts on Query
  @argumentDefinitions(
    filter: { type: "PostFilter" }
    count: { type: "Int", defaultValue: 20 }
    cursor: { type: "String" }
  )
  @refetchable(queryName: "FeedPaginationQuery") {
    posts(filter: $filter, first: $count, after: $cursor) @connection(key: "Feed_posts") {
      edges {
        node {
          postId
          ...Feed_post
        }
      }
    }
  }
`;

graphql`
  fragment Feed_post on Post @refetchable(queryName: "FeedPostRefetchQuery") {
    id
    status
    destinations {
      id
      status
      account {
        id
        accountName
      }
    }
  }
`;

graphql`
  fragment Feed_account on Account @refetchable(queryName: "FeedAccountRefetchQuery") {
    accountName
    platform
  }
`;
