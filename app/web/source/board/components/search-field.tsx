// Finds posts by a part of their text, or opens a post by its id.

import { useLocation } from "wouter";

import { pastedUuid } from "../url/parameters";
import { postPath } from "../url/paths";
import { resultsPath } from "../url/results";

export function SearchField() {
  const [, navigate] = useLocation();
  return (
    <form
      role="search"
      className="search"
      onSubmit={(event) => {
        event.preventDefault();
        const text = String(new FormData(event.currentTarget).get("q")).trim();
        const id = pastedUuid(text);
        navigate(id ? postPath(id) : resultsPath({ q: text }));
      }}
    >
      <input
        name="q"
        type="search"
        aria-label="Text or id of a post"
        placeholder="Text or id of a post"
        maxLength={200}
      />
      <button type="submit">Search</button>
    </form>
  );
}
