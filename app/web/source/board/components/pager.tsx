// Links between the pages of a list.

import { Link } from "wouter";

interface NextProps {
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null | undefined };
  /** Path of the page that begins after a cursor. */
  readonly pathAfter: (cursor: string) => string;
}

/** A link to the next page; nothing on the last one. */
export function NextPage({ pageInfo, pathAfter }: NextProps) {
  if (!pageInfo.hasNextPage) return null;
  return (
    <nav className="buttons" aria-label="Pages">
      <Link className="button" href={pathAfter(pageInfo.endCursor ?? "")}>
        Next page
      </Link>
    </nav>
  );
}

/** Says that a page is not the first one, outside of the list, which may fail for a wrong cursor. */
export function LaterPage({ firstPath }: { readonly firstPath: string }) {
  return (
    <p className="muted">
      This is a later page of the list. <Link href={firstPath}>Go to the first page</Link>
    </p>
  );
}
