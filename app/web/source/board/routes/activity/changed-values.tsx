// The values of a change, before and after.

import { useState } from "react";

import { Time } from "../../components/time";
import { UserText } from "../../components/user-text";
import { count } from "../../text/numbers";
import { enumWords } from "../../text/statuses";

const TEXT_LIMIT = 300;
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
/** Fields that change with every change. */
const BOOKKEEPING = ["updated_at"];

interface Props {
  readonly values: unknown;
  readonly previous: unknown;
}

export function ChangedValues({ values, previous }: Props) {
  const [isOpen, setOpen] = useState(false);
  const changes = differences(values, previous);
  if (changes.length === 0) return null;
  return (
    <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{count(changes.length, "value")} changed</summary>
      {isOpen && (
        <table className="values">
          <thead>
            <tr>
              <th scope="col">Field</th>
              <th scope="col">Before</th>
              <th scope="col">After</th>
            </tr>
          </thead>
          <tbody>
            {changes.map(([field, before, after]) => (
              <tr key={field}>
                <th scope="row">{enumWords(field)}</th>
                <Value value={before} />
                <Value value={after} />
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </details>
  );
}

/** Field, old and new value; none for an object that is new. */
function differences(values: unknown, previous: unknown): [string, unknown, unknown][] {
  if (!isRecord(values) || !isRecord(previous)) return [];
  if (Object.values(previous).every((value) => value === null)) return [];
  return Object.entries(values)
    .map(([field, after]): [string, unknown, unknown] => [field, previous[field] ?? null, after])
    .filter(
      ([field, before, after]) =>
        !BOOKKEEPING.includes(field) && JSON.stringify(before) !== JSON.stringify(after),
    );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function Value({ value }: { readonly value: unknown }) {
  if (value === null) return <td className="muted">none</td>;
  if (typeof value === "string" && INSTANT.test(value)) {
    return (
      <td>
        <Time at={value} />
      </td>
    );
  }
  return (
    <td>
      <UserText text={typeof value === "string" ? value : JSON.stringify(value)} limit={TEXT_LIMIT} />
    </td>
  );
}
