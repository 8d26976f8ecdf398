// The heading of a route. It takes the focus when the route changes, and names the tab of the browser.

import { useEffect, useLayoutEffect, useRef, type ReactNode } from "react";

import { plainText, truncated } from "../text/characters";
import { PrintHeading } from "./print-heading";
import { UserText } from "./user-text";
import { useViewer } from "../session/viewer";

interface Props {
  readonly title: string;
  readonly children: ReactNode;
  /** Controls next to the heading. */
  readonly actions?: ReactNode;
  /** The filters of the page in words, for its print. */
  readonly filterWords?: readonly string[];
}

const MAX_TITLE_LENGTH = 60;

export function Page({ title, children, actions, filterWords = [] }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  const { workspaceName } = useViewer();
  useEffect(() => {
    document.title = `${truncated(plainText(title), MAX_TITLE_LENGTH)} · ${plainText(workspaceName)}`;
  }, [title, workspaceName]);
  // A layout effect, so that it takes no focus from what a key has chosen since.
  useLayoutEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return (
    <main id="content">
      <div className="page-heading">
        <h1 ref={heading} tabIndex={-1}>
          <UserText text={title} />
        </h1>
        {actions}
      </div>
      <PrintHeading filterWords={filterWords} />
      {children}
    </main>
  );
}
