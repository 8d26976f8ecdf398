// One list of the page, in order of time.

import { useId, type ComponentType, type ReactNode } from "react";
import { Link } from "wouter";

import type { destinationListQuery$variables } from "../../relay/__generated__/destinationListQuery.graphql";
import { useDestinationList, type DestinationRow } from "../../components/list/destination-list";
import { ListBar, MoreRows } from "../../components/list/list-parts";
import type { ListInteraction } from "../../components/list/list-interaction";
import { Panel } from "../../components/panel";
import { RetryButton } from "../../components/retry-button";
import { UserText } from "../../components/user-text";
import { accountLabel, postLabel } from "../../text/labels";
import { platformName } from "../../text/reasons";
import { destinationStatus } from "../../text/statuses";
import { postPath } from "../../url/paths";

const TEXT_LIMIT = 200;
const HEADINGS = ["When", "Account", "Post", "Why, and what next"];

export interface CellProps {
  readonly row: DestinationRow;
}

interface Props extends Pick<destinationListQuery$variables, "filter" | "orderBy"> {
  readonly title: string;
  readonly when: ComponentType<CellProps>;
  readonly next: ComponentType<CellProps>;
  /** Sentence in place of an empty list. */
  readonly nothing: string;
  /** Interaction with all lists of the page, because one that grows moves those below. */
  readonly interaction: ListInteraction;
  /** Explanation of the list. */
  readonly children: ReactNode;
}

export function WaitingSection(props: Props) {
  return <Panel lines={5}>{(fetchKey) => <LoadedSection {...props} fetchKey={fetchKey} />}</Panel>;
}

function LoadedSection({
  title,
  when: When,
  next: Next,
  nothing,
  interaction,
  children,
  ...options
}: Props & { readonly fetchKey: number }) {
  const id = useId();
  const list = useDestinationList({ ...options, isInUse: interaction.isInUse });
  const { newCount, unmatchedIds } = list.updates.difference;
  return (
    <section className="waiting" aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {list.rows.length === 0 ? <p className="muted">{nothing}</p> : <p>{children}</p>}
      {(list.rows.length > 0 || newCount > 0) && (
        <ListBar total={list.total} newCount={newCount} onShowNew={list.updates.showNew} />
      )}
      {list.rows.length > 0 && (
        <>
          <table
            role="table"
            aria-labelledby={id}
            className="table waiting-table"
            {...interaction.container}
          >
            <thead role="rowgroup">
              <tr role="row" className="row">
                {HEADINGS.map((heading) => (
                  <th key={heading} role="columnheader" scope="col">
                    {heading}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody role="rowgroup">
              {list.rows.map((row) => (
                <tr key={row.id} role="row" className={unmatchedIds.has(row.id) ? "row unmatched" : "row"}>
                  <td role="cell">
                    <When row={row} />
                  </td>
                  <td role="cell">
                    <UserText text={accountLabel(row.accountName)} limit={TEXT_LIMIT} />
                    <small className="muted">
                      <UserText text={platformName(row.platform)} />
                    </small>
                  </td>
                  <td role="cell" className="cell-post">
                    <Link href={postPath(row.postId)}>
                      <UserText text={postLabel(row.post)} limit={TEXT_LIMIT} />
                    </Link>
                  </td>
                  <td role="cell">
                    {unmatchedIds.has(row.id) && (
                      <small className="muted">
                        now {destinationStatus(row).name}; no longer in this list
                      </small>
                    )}
                    <Next row={row} />
                    <RetryButton destination={row} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          <MoreRows list={list} />
        </>
      )}
    </section>
  );
}
