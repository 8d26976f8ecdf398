// Unknown outcomes, to settle one after the other.

import { useEffect, useState } from "react";
import { useLocation } from "wouter";
import { useSearch } from "wouter/use-browser-location";

import { rememberList } from "../../components/back-link";
import { useDestinationList, type DestinationRow } from "../../components/list/destination-list";
import { useListInteraction } from "../../components/list/list-interaction";
import { Page } from "../../components/page";
import { Panel } from "../../components/panel";
import { UserText } from "../../components/user-text";
import { useShortcuts } from "../../keyboard/shortcuts";
import { parseUnknown, unknownPath } from "../../url/unknown";
import { useFocusAtFirst } from "./focus";
import { LastSettled } from "./last-settled";
import { UnknownItem } from "./unknown-item";
import { UnknownList } from "./unknown-list";

const OLDEST_FIRST = { field: "FAILED_AT", direction: "ASC" } as const;

export default function UnknownPage() {
  return (
    <Page title="Unknown outcomes">
      <Panel lines={16}>{(fetchKey) => <Triage fetchKey={fetchKey} />}</Panel>
    </Page>
  );
}

function Triage({ fetchKey }: { readonly fetchKey: number }) {
  const item = parseUnknown(useSearch());
  const [, navigate] = useLocation();
  const interaction = useListInteraction();
  rememberList("/results", unknownPath(item), "Unknown outcomes");
  const list = useDestinationList({
    filter: { outcome: ["UNKNOWN"] },
    orderBy: OLDEST_FIRST,
    fetchKey,
    isInUse: interaction.isInUse,
  });
  const [report, setReport] = useState("");
  const [hasAdvanced, setAdvanced] = useState(false);
  const { unmatchedIds } = list.updates.difference;
  const isOpen = (row: DestinationRow) => row.outcome === "UNKNOWN" && !unmatchedIds.has(row.id);
  const firstOpenId = list.rows.find(isOpen)?.destinationId ?? null;
  const index = list.rows.findIndex(({ destinationId }) => destinationId === item);

  // The address names the item, so that a link leads to it.
  useEffect(() => {
    if (item === null && firstOpenId !== null) navigate(unknownPath(firstOpenId), { replace: true });
  }, [item, firstOpenId, navigate]);

  const isEverythingSettled = firstOpenId === null && list.rows.length > 0;
  useEffect(() => {
    if (isEverythingSettled) list.updates.showNew();
  }, [isEverythingSettled]);

  /** Shows the next one that is still unknown, after the last the first; unless the user has left this one. */
  function advance(): void {
    if (parseUnknown(location.search) !== item) return;
    const others = [...list.rows.slice(index + 1), ...list.rows.slice(0, Math.max(index, 0))];
    setAdvanced(true);
    navigate(unknownPath(others.find(isOpen)?.destinationId ?? null));
  }

  function move(step: number): void {
    const row = list.rows[index + step];
    if (row) navigate(unknownPath(row.destinationId));
  }

  useShortcuts({ j: () => move(1), k: () => move(-1) });

  return (
    <>
      <p role="status" className="report">
        {report && <UserText text={report} />}
      </p>
      {item === null && firstOpenId === null ? (
        <NothingUnknown takesFocus={hasAdvanced} />
      ) : (
        <>
          <p>
            A publisher began each of these, and never said how it ended. Look on the platform, then say what
            you found. Nothing is tried again before that, because it could appear twice.
          </p>
          <div className="triage">
            {item !== null && (
              <Panel key={item} lines={12}>
                {(key) => (
                  <UnknownItem
                    destinationId={item}
                    fetchKey={key}
                    takesFocus={hasAdvanced}
                    onReport={setReport}
                    onNext={advance}
                  />
                )}
              </Panel>
            )}
            <UnknownList list={list} item={item} interaction={interaction} />
          </div>
        </>
      )}
    </>
  );
}

function NothingUnknown({ takesFocus }: { readonly takesFocus: boolean }) {
  const sentence = useFocusAtFirst<HTMLParagraphElement>(takesFocus);
  return (
    <div className="empty">
      <p ref={sentence} tabIndex={-1}>
        Nothing is unknown: every publisher has said how it ended.
      </p>
      <Panel lines={1}>{(fetchKey) => <LastSettled fetchKey={fetchKey} />}</Panel>
    </div>
  );
}
