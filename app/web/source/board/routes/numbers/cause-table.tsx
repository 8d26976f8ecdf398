// The failures of a period by cause.

import { plainNumber } from "../../text/numbers";
import { categoryWords } from "../../text/reasons";
import { NumberCell, type GroupsProps } from "./outcome-table";
import { resultsPaths } from "./results-paths";
import { ShareBar } from "./share-bar";

export function CauseTable({ groups, view, period }: GroupsProps) {
  const results = resultsPaths(view, period);
  const causes = groups
    .flatMap(({ category, counts }) => (category ? [{ category, counts }] : [])) // publications have none
    .sort(
      (one, other) => other.counts.failed - one.counts.failed || other.counts.attempts - one.counts.attempts,
    );
  const total = causes.reduce((sum, { counts }) => sum + counts.failed, 0);
  if (causes.length === 0) return <p className="muted">Nothing failed in this period.</p>;
  return (
    <div className="scroll" role="region" aria-label="Failures by cause" tabIndex={0}>
      <table className="plain-table">
        <caption className="visually-hidden">Failures by cause, {period.words}</caption>
        <thead>
          <tr>
            <th scope="col">Cause</th>
            <th scope="col">Failed</th>
            <th scope="col">Share of the failed</th>
            <th scope="col">Unknown</th>
            <th scope="col">Failed attempts</th>
          </tr>
        </thead>
        <tbody>
          {causes.map(({ category, counts }) => (
            <tr key={category}>
              <th scope="row">{categoryWords(category)}</th>
              <NumberCell value={counts.failed} path={results.failedWith(category)} />
              <td>
                <ShareBar
                  parts={[
                    ["bad", counts.failed],
                    ["neutral", total - counts.failed],
                  ]}
                />
              </td>
              <td>{plainNumber(counts.unknown)}</td>
              <td>{plainNumber(counts.attempts)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
