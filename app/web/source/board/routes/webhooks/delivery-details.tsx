// The attempts of a delivery and its payload, and another delivery of the same event.

import { useEffect } from "react";
import { graphql, useLazyLoadQuery, useRelayEnvironment } from "react-relay/hooks";

import type { deliveryDetailsMutation } from "../../relay/__generated__/deliveryDetailsMutation.graphql";
import type {
  deliveryDetailsQuery,
  deliveryDetailsQuery$data,
} from "../../relay/__generated__/deliveryDetailsQuery.graphql";
import type { deliveryRow_delivery$data } from "../../relay/__generated__/deliveryRow_delivery.graphql";
import { ActionButton } from "../../components/action-button";
import { showNotice, showResult } from "../../components/notices";
import { Sentence, Time } from "../../components/time";
import { UserText } from "../../components/user-text";
import { useIdempotentMutation } from "../../relay/idempotency";
import { refresh } from "../../relay/live-query";
import { adminDeniedReason, useViewer } from "../../session/viewer";
import { duration } from "../../text/times";
import { formattedJson } from "../../text/webhooks";

const PAYLOAD_LIMIT = 100_000;
const RESPONSE_LIMIT = 4_000;

const query = graphql`
  query deliveryDetailsQuery($id: ID!) {
    node(id: $id) {
      ... on WebhookDelivery {
        ...deliveryRow_delivery @alias
        payload
        attempts {
          number
          startedAt
          durationMs
          statusCode
          error
          responseBody
        }
      }
    }
  }
`;

interface Props {
  readonly delivery: deliveryRow_delivery$data;
  readonly webhookId: string;
  readonly fetchKey: number;
}

export function DeliveryDetails({ delivery, webhookId, fetchKey }: Props) {
  const environment = useRelayEnvironment();
  const { id, status, attemptCount } = delivery;
  const { node } = useLazyLoadQuery<deliveryDetailsQuery>(
    query,
    { id },
    { fetchKey, fetchPolicy: "store-and-network" },
  );
  const shownCount = node?.attempts?.[0]?.number ?? 0;
  useEffect(() => {
    if (attemptCount > shownCount) refresh<deliveryDetailsQuery>(environment, query, { id });
  }, [attemptCount]);
  if (!node?.payload) return <p>It is no longer stored.</p>;
  return (
    <>
      <RedeliverButton
        webhookId={webhookId}
        deliveryId={delivery.deliveryId}
        state={[status, attemptCount]}
        onRedelivered={() => refresh<deliveryDetailsQuery>(environment, query, { id })}
      />
      {node.attempts && node.attempts.length > 0 && (
        <ol className="timeline">
          {node.attempts.map((attempt) => (
            <AttemptItem key={attempt.number} attempt={attempt} />
          ))}
        </ol>
      )}
      <h3>What is sent</h3>
      <pre tabIndex={0}>
        <UserText text={formattedJson(node.payload)} limit={PAYLOAD_LIMIT} />
      </pre>
    </>
  );
}

type DeliveryAttempt = NonNullable<NonNullable<deliveryDetailsQuery$data["node"]>["attempts"]>[number];

function AttemptItem({ attempt }: { readonly attempt: DeliveryAttempt }) {
  const { number, startedAt, durationMs, statusCode, error, responseBody } = attempt;
  return (
    <li>
      <Time at={startedAt} /> attempt {number}: {statusCode === null ? "no response" : `status ${statusCode}`}
      {` in ${duration(durationMs)}`}
      {error && (
        <p>
          <Sentence text={error} />
        </p>
      )}
      {responseBody && (
        <details>
          <summary>Response of the receiver</summary>
          <pre tabIndex={0}>
            <UserText text={responseBody} limit={RESPONSE_LIMIT} />
          </pre>
        </details>
      )}
    </li>
  );
}

interface RedeliverProps {
  readonly webhookId: string;
  readonly deliveryId: string;
  /** Changes with each attempt: a press after one is another request. */
  readonly state: unknown;
  readonly onRedelivered: () => void;
}

function RedeliverButton({ webhookId, deliveryId, state, onRedelivered }: RedeliverProps) {
  const disabledReason = adminDeniedReason(useViewer());
  const [send, isBusy] = useIdempotentMutation<deliveryDetailsMutation>(graphql`
    mutation deliveryDetailsMutation($input: RedeliverWebhookInput!) {
      redeliverWebhook(input: $input) {
        count
      }
    }
  `);

  function redeliver(): void {
    const handlers = {
      onCompleted: () => {
        showResult("The event is delivered again.");
        onRedelivered();
      },
      onError: ({ message }: Error) => showNotice(`The event could not be delivered again. ${message}`),
    };
    send({ webhookId, deliveryId }, handlers, state);
  }

  return (
    <ActionButton disabledReason={disabledReason} isBusy={isBusy} onPress={redeliver}>
      Redeliver
    </ActionButton>
  );
}
