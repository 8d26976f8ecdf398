// How an outcome that was unknown was settled, and by whom.

import { graphql, useLazyLoadQuery } from "react-relay/hooks";
import { fetchQuery, type Environment } from "relay-runtime";

import type { settledQuery, settledQuery$data } from "../../relay/__generated__/settledQuery.graphql";
import { Actor } from "../../components/actor";
import { Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { ChangeItem } from "../../components/change-item";
import { actorName } from "../../text/actors";
import { destinationStatus } from "../../text/statuses";
import type { Item } from "./unknown-item";

/** The latest changes of the post; the first one with an outcome on the account is the settlement. */
const query = graphql`
  query settledQuery($postId: UUID!) {
    changes(postId: $postId, types: [DESTINATION_CHANGED], first: 100, direction: DESC) {
      nodes {
        destinationId
        sentence
        values
        actor {
          keyId
          keyName
          person
        }
        ...changeItem_change
      }
    }
  }
`;

interface Target {
  readonly destinationId: string;
  readonly postId: string;
}

/** Describes the settlement; null if it is not stored. */
export async function readSettlement(environment: Environment, target: Target): Promise<string | null> {
  const data = await fetchQuery<settledQuery>(environment, query, { postId: target.postId }).toPromise();
  const change = data && settlementIn(data, target.destinationId);
  if (!change) return null;
  return change.actor ? `${change.sentence} By ${actorName(change.actor)}.` : change.sentence;
}

function settlementIn({ changes }: settledQuery$data, destinationId: string) {
  return changes?.nodes.find(
    (change) => change.destinationId === destinationId && hasOutcome(change.values),
  );
}

function hasOutcome(values: unknown): boolean {
  return typeof values === "object" && values !== null && "outcome" in values;
}

interface Props {
  readonly item: Item;
  readonly onNext: () => void;
}

export function Settled({ item, onNext }: Props) {
  return (
    <>
      <p>
        It is settled: <Status words={destinationStatus(item)} />
      </p>
      <Panel lines={1}>{(fetchKey) => <Settlement item={item} fetchKey={fetchKey} />}</Panel>
      <div className="buttons">
        <button type="button" onClick={onNext}>
          Next
        </button>
      </div>
    </>
  );
}

function Settlement({ item, fetchKey }: { readonly item: Item; readonly fetchKey: number }) {
  const data = useLazyLoadQuery<settledQuery>(
    query,
    { postId: item.postId },
    { fetchKey, fetchPolicy: "store-and-network" },
  );
  const change = settlementIn(data, item.destinationId);
  if (!change) return null;
  return (
    <p>
      <ChangeItem change={change} /> <Actor actor={change.actor} />
    </p>
  );
}
