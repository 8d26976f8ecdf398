// The page of an unknown path.

import { Link } from "wouter";

import { Page } from "../../components/page";
import { SearchField } from "../../components/search-field";

export function NotFound() {
  return (
    <Page title="No such page">
      <p>The link may be incomplete. Search for a post by its text, or go to a page of the navigation.</p>
      <SearchField />
      <p>
        <Link href="/">Today</Link> · <Link href="/results">All results</Link>
      </p>
    </Page>
  );
}
