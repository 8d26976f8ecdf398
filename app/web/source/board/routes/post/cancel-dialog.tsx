// Confirms the cancellation of a post, and says what of it is already out.

import { useState } from "react";
import { graphql, useMutation } from "react-relay/hooks";

import type { cancelDialogMutation } from "../../relay/__generated__/cancelDialogMutation.graphql";
import type { postActions_post$data } from "../../relay/__generated__/postActions_post.graphql";
import { Dialog } from "../../components/dialog";
import { ErrorPanel } from "../../components/error-panel";
import { showNotice } from "../../components/notices";
import { newIdempotencyKey } from "../../relay/idempotency";
import { ServerError, STALE_VERSION } from "../../relay/server-error";
import { count } from "../../text/numbers";

interface Props {
  readonly post: postActions_post$data;
  readonly onClose: () => void;
}

export function CancelDialog({ post, onClose }: Props) {
  // The version that the user sees: a change meanwhile makes the server refuse. Null after a refusal: then that
  // of the next press, which the user has been asked to check.
  const [version, setVersion] = useState<number | null>(post.version);
  const [error, setError] = useState<Error | null>(null);
  const [commit, isBusy] = useMutation<cancelDialogMutation>(graphql`
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
  const isStale = error instanceof ServerError && error.code === STALE_VERSION;

  function cancel(): void {
    setError(null);
    commit({
      variables: {
        input: { postId: post.postId, expectedVersion: version ?? post.version, idempotencyKey: newIdempotencyKey() },
      },
      onCompleted: () => {
        showNotice("The post is cancelled.");
        onClose();
      },
      onError: (failure) => {
        setError(failure);
        setVersion(null);
      },
    });
  }

  return (
    <Dialog title="Cancel this post?" onClose={onClose}>
      <p>
        It will not be published on {count(waiting, "account")}.
        {published > 0 && ` On ${count(published, "account")} it is published already, and stays there.`}
      </p>
      {isStale && (
        <p>Another person has changed the post meanwhile. Read “What happened”, then try again.</p>
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
