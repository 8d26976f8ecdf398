// Gives a post another due time, and schedules a draft.

import { useId, useState } from "react";
import { graphql, useLazyLoadQuery } from "react-relay/hooks";

import type { moveDialogQuery } from "../../relay/__generated__/moveDialogQuery.graphql";
import type { moveDialogScheduleMutation } from "../../relay/__generated__/moveDialogScheduleMutation.graphql";
import type { moveDialogUpdateMutation } from "../../relay/__generated__/moveDialogUpdateMutation.graphql";
import { Dialog } from "../../components/dialog";
import { ErrorPanel } from "../../components/error-panel";
import { showNotice } from "../../components/notices";
import { Panel } from "../../components/panel";
import { useNow } from "../../components/time";
import { UserText } from "../../components/user-text";
import { isStaleVersion, useExpectedVersion } from "../../relay/expected-version";
import { useIdempotentMutation } from "../../relay/idempotency";
import { serverNow } from "../../text/clock";
import { postLabel } from "../../text/labels";
import { fullTime, instantOf, localInput, shortTime } from "../../text/times";
import { useZone } from "../../text/zone";

const TEXT_LIMIT = 120;

interface Props {
  readonly postId: string;
  readonly onClose: () => void;
  readonly onMoved: () => void;
}

export function MoveDialog(props: Props) {
  return (
    <Dialog title="Move this post" onClose={props.onClose}>
      <Panel lines={4}>{(fetchKey) => <MoveForm {...props} fetchKey={fetchKey} />}</Panel>
    </Dialog>
  );
}

interface FormProps extends Props {
  readonly fetchKey: number;
}

function MoveForm({ postId, onClose, onMoved, fetchKey }: FormProps) {
  const { post } = useLazyLoadQuery<moveDialogQuery>(
    graphql`
      query moveDialogQuery($postId: UUID!) {
        post(postId: $postId) {
          ...changes_post
          id
          content
          reference
          status
          version
          scheduledFor
          createdAt
        }
      }
    `,
    { postId },
    { fetchKey, fetchPolicy: "network-only" },
  );
  const zone = useZone();
  const now = useNow();
  const explanationId = useId();
  const [local, setLocal] = useState(() =>
    post ? localInput(new Date(post.scheduledFor ?? post.createdAt), zone) : "",
  );
  const [expectedVersion, handleError] = useExpectedVersion(post);
  const [error, setError] = useState<Error | null>(null);
  const [update, isUpdating] = useIdempotentMutation<moveDialogUpdateMutation>(graphql`
    mutation moveDialogUpdateMutation($input: UpdatePostInput!) {
      updatePost(input: $input) {
        warnings {
          message
        }
        post {
          ...changes_post
        }
      }
    }
  `);
  const [schedule, isScheduling] = useIdempotentMutation<moveDialogScheduleMutation>(graphql`
    mutation moveDialogScheduleMutation($input: SchedulePostInput!) {
      schedulePost(input: $input) {
        warnings {
          message
        }
        post {
          ...changes_post
        }
      }
    }
  `);
  if (!post) return <p>It was deleted.</p>;
  const instant = instantOf(local, zone);
  const isPast = instant !== null && instant <= now;
  const isDisabled = isUpdating || isScheduling || instant === null || isPast;
  const isDraft = post.status === "DRAFT";

  function move(scheduledFor: Date): void {
    setError(null);
    update(inputOf(scheduledFor), {
      onCompleted: ({ updatePost }) => complete("Moved to", scheduledFor, updatePost?.warnings),
      onError: fail,
    });
  }

  function submit(scheduledFor: Date): void {
    setError(null);
    schedule(inputOf(scheduledFor), {
      onCompleted: ({ schedulePost }) => complete("Scheduled for", scheduledFor, schedulePost?.warnings),
      onError: fail,
    });
  }

  function inputOf(scheduledFor: Date) {
    return { postId, scheduledFor: scheduledFor.toISOString(), expectedVersion };
  }

  function complete(
    result: string,
    time: Date,
    warnings: readonly { readonly message: string }[] = [],
  ): void {
    const messages = warnings.map(({ message }) => message);
    showNotice([`${result} ${shortTime(time, zone, serverNow())}.`, ...messages].join(" "));
    onMoved();
    onClose();
  }

  function fail(failure: Error): void {
    setError(failure);
    handleError(failure);
  }

  return (
    <form
      className="move"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        if (!isDisabled) move(instant);
      }}
    >
      <p>
        <UserText text={postLabel(post)} limit={TEXT_LIMIT} />
      </p>
      <label>
        New time
        <input
          type="datetime-local"
          value={local}
          onChange={(event) => setLocal(event.target.value)}
          aria-invalid={isPast}
          aria-describedby={explanationId}
          autoFocus
        />
      </label>
      <div id={explanationId} aria-live="polite">
        <p className="muted">
          {instant ? fullTime(instant, zone) : `A date and a time, on the clock of ${zone}.`}
        </p>
        {isPast && <p className="problem">This time has passed. Choose a later one.</p>}
      </div>
      {isStaleVersion(error) && (
        <p>
          Another person or program has changed the post meanwhile. It is due{" "}
          {post.scheduledFor ? fullTime(new Date(post.scheduledFor), zone) : "at no time"} now. If your time
          is still right, try again.
        </p>
      )}
      {error && <ErrorPanel error={error} />}
      <div className="buttons">
        <button type="submit" className={isDraft ? undefined : "primary"} aria-disabled={isDisabled}>
          {isDraft ? "Move, and keep it a draft" : "Move"}
        </button>
        {isDraft && (
          <button
            type="button"
            className="primary"
            aria-disabled={isDisabled}
            onClick={() => !isDisabled && submit(instant)}
          >
            Schedule it for this time
          </button>
        )}
        <button type="button" onClick={onClose}>
          Close
        </button>
      </div>
    </form>
  );
}
