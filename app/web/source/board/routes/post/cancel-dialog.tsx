// Confirms the cancellation of a post, and says what of it is already out.

import { useState } from "react";
import { graphql } from "react-relay/hooks";

import type { cancelDialogMutation } from "../../relay/__generated__/cancelDialogMutation.graphql";
import type { postActions_post$data } from "../../relay/__generated__/postActions_post.graphql";
import { Dialog } from "../../components/dialog";
import { ErrorPanel } from "../../components/error-panel";
import { showResult } from "../../components/notices";
import { Panel } from "../../components/panel";
import { isStaleVersion, useExpectedVersion } from "../../relay/expected-version";
import { useIdempotentMutation } from "../../relay/idempotency";
import { count } from "../../text/numbers";
import { LatestChange } from "./latest-change";

interface Props {
  readonly post: postActions_post$data;
  readonly onClose: () => void;
}

export function CancelDialog({ post, onClose }: Props) {
  const [expectedVersion, handleError] = useExpectedVersion(post);
  const [error, setError] = useState<Error | null>(null);
  const [send, isBusy] = useIdempotentMutation<cancelDialogMutation>(graphql`
    mutation cancelDialogMutation($input: CancelPostInput!) {
      cancelPost(input: $input) {
        post {
          ...changes_post
          destinations {
            ...changes_destination
          }
        }
      }
    }
  `);
  const destinations = post.destinations ?? [];
  const waiting = destinations.filter(({ status }) => status === "QUEUED").length;
  const published = destinations.filter(({ status }) => status === "PUBLISHED").length;
  const isUntried = published === 0 && destinations.every(({ attempts }) => attempts === 0);

  function cancel(): void {
    setError(null);
    send(
      { postId: post.postId, expectedVersion },
      {
        onCompleted: () => {
          showResult("The post is cancelled.");
          onClose();
        },
        onError: (failure) => {
          setError(failure);
          handleError(failure);
        },
      },
    );
  }

  return (
    <Dialog title="Cancel this post?" onClose={onClose}>
      <p>
        It will not be published on {count(waiting, "account")}.
        {published > 0 && ` On ${count(published, "account")} it is published already, and stays there.`}
        {isUntried && " It becomes a draft, which can be scheduled again."}
      </p>
      {isStaleVersion(error) && (
        <>
          <p>Another person or program has changed the post meanwhile. If it should still be cancelled, try again:</p>
          <Panel lines={1}>{(fetchKey) => <LatestChange postId={post.postId} fetchKey={fetchKey} />}</Panel>
        </>
      )}
      {error && <ErrorPanel error={error} />}
      <div className="buttons">
        <button type="button" className="danger" aria-disabled={isBusy} onClick={() => !isBusy && cancel()}>
          Cancel the post
        </button>
        <button type="button" onClick={onClose}>
          Keep it
        </button>
      </div>
    </Dialog>
  );
}
