// The unknown outcomes beside the one that is shown.

import { Link } from "wouter";

import type { DestinationList, DestinationRow } from "../../components/list/destination-list";
import { ListBar, MoreRows } from "../../components/list/list-parts";
import type { ListInteraction } from "../../components/list/list-interaction";
import { Status } from "../../components/status";
import { TimeWithDistance } from "../../components/time";
import { UserText } from "../../components/user-text";
import { accountLabel, postLabel } from "../../text/labels";
import { platformName } from "../../text/reasons";
import { destinationStatus } from "../../text/statuses";
import { unknownPath } from "../../url/unknown";

const TEXT_LIMIT = 200;

interface Props {
  readonly list: DestinationList;
  /** Id of the one that is shown. */
  readonly item: string | null;
  readonly interaction: ListInteraction;
}

export function UnknownList({ list, item, interaction }: Props) {
  const { difference, showNew } = list.updates;
  return (
    <nav className="triage-list" aria-label="Unknown outcomes" {...interaction.container}>
      {(list.rows.length > 0 || difference.newCount > 0) && (
        <ListBar total={list.total} newCount={difference.newCount} onShowNew={showNew} />
      )}
      <ol>
        {list.rows.map((row) => (
          <li key={row.id}>
            <Link
              href={unknownPath(row.destinationId)}
              aria-current={row.destinationId === item ? "true" : undefined}
            >
              <span>
                <UserText text={accountLabel(row.accountName)} limit={TEXT_LIMIT} />{" "}
                <span className="muted">
                  <UserText text={platformName(row.platform)} />
                </span>
              </span>
              <UserText text={postLabel(row.post)} limit={TEXT_LIMIT} />
              <RowState row={row} />
            </Link>
          </li>
        ))}
      </ol>
      <MoreRows list={list} />
    </nav>
  );
}

function RowState({ row }: { readonly row: DestinationRow }) {
  if (row.outcome !== "UNKNOWN") return <Status words={destinationStatus(row)} />;
  if (!row.unknownSince) return null;
  return (
    <small className="muted">
      since <TimeWithDistance at={row.unknownSince} />
    </small>
  );
}
