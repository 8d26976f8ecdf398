// Paths of the pages of single objects, below the board. Those of lists are beside their filters.

export function accountPath(accountId: number): string {
  return `/accounts/${accountId}`;
}

export function postPath(postId: string): string {
  return `/posts/${postId}`;
}
