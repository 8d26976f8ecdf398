// A table of outcomes with one row for each platform or account.

import { Link } from "wouter";

import type { breakdownQuery$data } from "../../relay/__generated__/breakdownQuery.graphql";
import { CsvButton } from "../../components/csv-button";
import { UserText } from "../../components/user-text";
import type { Cell } from "../../text/csv";
import { percent, plainNumber } from "../../text/numbers";
import { platformName } from "../../text/reasons";
import { duration } from "../../text/times";
import { numbersPath, type NumbersView } from "../../url/numbers";
import type { Period } from "./period";
import { resultsPaths, type ResultsPaths } from "./results-paths";
import { ShareBar } from "./share-bar";

export type Group = NonNullable<breakdownQuery$data["outcomeStats"]>["buckets"][number]["groups"][number];

export interface GroupsProps {
  readonly groups: readonly Group[];
  readonly view: NumbersView;
  readonly period: Period;
}

export interface OutcomeRow {
  readonly key: string;
  readonly name: string;
  readonly counts: Group["counts"];
  /** Statistics of this row alone. */
  readonly path: string;
  readonly results: ResultsPaths;
}

export function PlatformTable({ groups, view, period }: GroupsProps) {
  const rows = worstFirst(groups).map(({ platform, counts }): OutcomeRow => {
    const filter = { platform: [platform ?? ""] };
    return {
      key: platform ?? "",
      name: platformName(platform ?? ""),
      counts,
      path: numbersPath({ ...view, ...filter }),
      results: resultsPaths(view, period, filter),
    };
  });
  return <OutcomeTable heading="Platform" rows={rows} period={period} />;
}

interface Props {
  readonly heading: string;
  readonly rows: readonly OutcomeRow[];
  readonly period: Period;
}

export function OutcomeTable({ heading, rows, period }: Props) {
  const group = heading.toLowerCase();
  return (
    <>
      <div className="scroll" role="region" aria-label={`Outcomes by ${group}`} tabIndex={0}>
        <table className="plain-table">
          <caption className="visually-hidden">
            Outcomes by {group}, {period.words}
          </caption>
          <thead>
            <tr>
              <th scope="col">{heading}</th>
              <th scope="col">Success rate</th>
              <th scope="col">Published</th>
              <th scope="col">Failed</th>
              <th scope="col">Unknown</th>
              <th scope="col">After a retry</th>
              <th scope="col">Attempts</th>
              <th scope="col">95% at most late</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ key, name, counts, path, results }) => (
              <tr key={key}>
                <th scope="row">
                  <Link href={path}>
                    <UserText text={name} />
                  </Link>
                </th>
                <td>
                  <ShareBar
                    parts={[
                      ["good", counts.published],
                      ["bad", counts.failed],
                      ["warning", counts.unknown],
                    ]}
                  />{" "}
                  <span>{typeof counts.successRate === "number" ? percent(counts.successRate) : "–"}</span>
                </td>
                <NumberCell value={counts.published} path={results.published} />
                <NumberCell value={counts.failed} path={results.failed} />
                <NumberCell value={counts.unknown} path={results.unknown} />
                <td>{plainNumber(counts.savedByRetry)}</td>
                <td>{plainNumber(counts.attempts)}</td>
                <td>{counts.lateness ? duration(counts.lateness.p95Seconds * 1_000) : "–"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <CsvButton
        name={`outcomes-by-${group}-${period.first}-${period.last}`}
        columns={[group, ...CSV_COLUMNS]}
        rows={rows.map(({ name, counts }) => [name, ...csvCells(counts)])}
      />
    </>
  );
}

const CSV_COLUMNS = [
  ...["success_rate", "published", "failed", "unknown", "saved_by_retry", "attempts"],
  "lateness_p95_seconds",
];

function csvCells(counts: Group["counts"]): Cell[] {
  const { successRate, published, failed, unknown, savedByRetry, attempts, lateness } = counts;
  return [
    ...[successRate ?? null, published, failed, unknown, savedByRetry, attempts],
    lateness?.p95Seconds ?? null,
  ];
}

export function NumberCell({ value, path }: { readonly value: number; readonly path: string }) {
  return <td>{value === 0 ? "0" : <Link href={path}>{plainNumber(value)}</Link>}</td>;
}

/** The groups, those with the most failures first. */
export function worstFirst(groups: readonly Group[]): Group[] {
  const problems = ({ counts }: Group) => counts.failed + counts.unknown;
  return [...groups].sort(
    (one, other) => problems(other) - problems(one) || other.counts.published - one.counts.published,
  );
}
