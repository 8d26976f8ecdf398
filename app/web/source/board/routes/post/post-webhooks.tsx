// The deliveries of the post's events to webhooks; nothing if there are none.

import { graphql } from "react-relay/hooks";
import { Link } from "wouter";

import type { postWebhooksQuery } from "../../relay/__generated__/postWebhooksQuery.graphql";
import { ErrorBoundary } from "../../components/error-panel";
import { ArrivalSuspense } from "../../components/loading";
import { NextAttempt } from "../../components/next-attempt";
import { Status } from "../../components/status";
import { Sentence, Time } from "../../components/time";
import { UserText } from "../../components/user-text";
import { useLiveQuery } from "../../relay/live-query";
import { deliveryStatus, eventWords, webhookLabel } from "../../text/webhooks";
import { webhookPath } from "../../url/webhooks";

interface Props {
  readonly postId: string;
}

/** Deliveries are no changes of the feed. */
const RECHECK_MS = 10_000;

/** The rest of the page does not wait for it. */
export function PostWebhooks({ postId }: Props) {
  return (
    <ErrorBoundary>
      {(fetchKey) => (
        <ArrivalSuspense fallback={null}>
          <Deliveries postId={postId} fetchKey={fetchKey} />
        </ArrivalSuspense>
      )}
    </ErrorBoundary>
  );
}

function Deliveries({ postId, fetchKey }: Props & { readonly fetchKey: number }) {
  const { webhookDeliveries } = useLiveQuery<postWebhooksQuery>(
    graphql`
      query postWebhooksQuery($filter: WebhookDeliveryFilter!) {
        webhookDeliveries(first: 50, filter: $filter) {
          nodes {
            id
            event
            status
            createdAt
            nextAttemptAt
            lastError
            webhook {
              webhookId
              name
              url
            }
          }
          pageInfo {
            hasNextPage
          }
        }
      }
    `,
    { filter: { postId } },
    { fetchKey, isRelevant: (change) => change.postId === postId, recheckMs: RECHECK_MS },
  );
  const nodes = webhookDeliveries?.nodes ?? [];
  if (nodes.length === 0) return null;
  return (
    <section aria-labelledby="webhooks">
      <h2 id="webhooks">Webhooks</h2>
      {webhookDeliveries?.pageInfo.hasNextPage && (
        <p className="muted">These are those of the newest events. The page of each webhook has all.</p>
      )}
      <ul className="timeline">
        {nodes.map(({ id, event, status, createdAt, nextAttemptAt, lastError, webhook }) => (
          <li key={id}>
            <Time at={createdAt} /> {eventWords(event)} {"→ "}
            {webhook ? (
              <Link href={webhookPath(webhook.webhookId, { post: postId })}>
                <UserText text={webhookLabel(webhook)} limit={200} />
              </Link>
            ) : (
              "(deleted webhook)"
            )}{" "}
            <Status words={deliveryStatus(status)} />
            {nextAttemptAt && <NextAttempt at={nextAttemptAt} />}
            {lastError && (
              <p>
                <Sentence text={lastError} />
              </p>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
