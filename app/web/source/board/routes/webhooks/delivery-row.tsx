// One delivery in the list, and its details when it is open.

import { useState } from "react";
import { graphql, useFragment } from "react-relay/hooks";
import { Link } from "wouter";

import type { deliveryRow_delivery$key } from "../../relay/__generated__/deliveryRow_delivery.graphql";
import { NextAttempt } from "../../components/next-attempt";
import { Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { Sentence, Time } from "../../components/time";
import { count } from "../../text/numbers";
import { deliveryStatus, eventWords } from "../../text/webhooks";
import { postPath } from "../../url/paths";
import { DeliveryDetails } from "./delivery-details";

interface Props {
  readonly delivery: deliveryRow_delivery$key;
  readonly webhookId: string;
  /** True if it no longer matches the filter of the list. */
  readonly isUnmatched: boolean;
}

export function DeliveryRow({ delivery, webhookId, isUnmatched }: Props) {
  const data = useFragment(
    graphql`
      fragment deliveryRow_delivery on WebhookDelivery {
        id
        deliveryId
        event
        status
        postId
        createdAt
        nextAttemptAt
        deliveredAt
        attemptCount
        lastError
        lastStatusCode
      }
    `,
    delivery,
  );
  const [isOpen, setOpen] = useState(false);
  const { status, event, postId, createdAt, nextAttemptAt, deliveredAt, attemptCount, lastError } = data;
  return (
    <li className={isUnmatched ? "delivery unmatched" : "delivery"}>
      <p>
        <Status words={deliveryStatus(status)} />
        {isUnmatched && <small className="muted"> no longer in this list</small>}
      </p>
      <p>
        {eventWords(event)}
        {postId && (
          <>
            {" · "}
            <Link href={postPath(postId)}>Post</Link>
          </>
        )}
      </p>
      <p>
        <Time at={createdAt} />
        {deliveredAt && (
          <small className="muted">
            {" delivered "}
            <Time at={deliveredAt} />
          </small>
        )}
        {nextAttemptAt && <NextAttempt at={nextAttemptAt} />}
      </p>
      <p className="delivery-error">{lastError && <Sentence text={lastError} />}</p>
      <details open={isOpen} onToggle={(toggle) => setOpen(toggle.currentTarget.open)}>
        <summary>{attemptCount === 0 ? "Details" : `${count(attemptCount, "attempt")}, details`}</summary>
        {isOpen && (
          <Panel lines={4}>
            {(fetchKey) => <DeliveryDetails delivery={data} webhookId={webhookId} fetchKey={fetchKey} />}
          </Panel>
        )}
      </details>
    </li>
  );
}
