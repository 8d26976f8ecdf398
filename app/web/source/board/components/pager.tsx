// Links to the first and the next page of a list.

import { Link } from "wouter";

interface Props {
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null | undefined };
  /** Path of the page that begins after a cursor; of the first page for "". */
  readonly pathAfter: (cursor: string) => string;
  /** Cursor of this page; "" on the first one. */
  readonly after: string;
}

export function Pager({ pageInfo, pathAfter, after }: Props) {
  if (!pageInfo.hasNextPage && after === "") return null;
  return (
    <nav className="buttons" aria-label="Pages">
      {after !== "" && (
        <Link className="button" href={pathAfter("")}>
          First page
        </Link>
      )}
      {pageInfo.hasNextPage && (
        <Link className="button" href={pathAfter(pageInfo.endCursor ?? "")}>
          Next page
        </Link>
      )}
    </nav>
  );
}
