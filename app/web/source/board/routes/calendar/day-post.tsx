// One post of a day, which can be moved to another time.

import { graphql, useFragment } from "react-relay/hooks";
import { Link } from "wouter";

import type { dayPost_post$data, dayPost_post$key } from "../../relay/__generated__/dayPost_post.graphql";
import { ActionButton } from "../../components/action-button";
import { Status } from "../../components/status";
import { UserText } from "../../components/user-text";
import { useViewer, writeDeniedReason } from "../../session/viewer";
import { postLabel } from "../../text/labels";
import { count } from "../../text/numbers";
import { postStatusOf } from "../../text/statuses";
import { clockMinutes, isZone } from "../../text/times";
import { useZone } from "../../text/zone";
import { postPath } from "../../url/paths";

const TEXT_LIMIT = 200;
/** Statuses of posts that have not been attempted. */
const MOVABLE = ["SCHEDULED", "DRAFT"];

interface Props {
  readonly post: dayPost_post$key;
  /** Id of the post that was moved last. */
  readonly movedId: string | null;
  readonly onMove: (postId: string) => void;
}

export function DayPost({ post, movedId, onMove }: Props) {
  const data = useFragment(
    graphql`
      fragment dayPost_post on Post {
        postId
        content
        reference
        status
        scheduledFor
        createdAt
        importedAt
        timezone
        destinations {
          status
          outcome
          errorCode
          isOverdue
          awaitsOutcome
          nextRetryAt
          scheduledFor
        }
      }
    `,
    post,
  );
  const zone = useZone();
  const disabledReason = moveDisabledReason(data) ?? writeDeniedReason(useViewer());
  const at = new Date(data.scheduledFor ?? data.createdAt);
  const ownZone = data.timezone && data.timezone !== zone && isZone(data.timezone) ? data.timezone : null;
  return (
    <article className="day-post" tabIndex={-1} data-next-focus={data.postId === movedId}>
      <Status words={postStatusOf(data.status, data.destinations ?? [])} />
      <span className="time">
        {clockMinutes(at, zone)}
        {ownZone && (
          <small className="muted">
            {" "}
            ({clockMinutes(at, ownZone)} in {ownZone})
          </small>
        )}
      </span>
      <Link href={postPath(data.postId)}>
        <UserText text={postLabel(data)} limit={TEXT_LIMIT} />
      </Link>
      <small className="muted">{count(data.destinations?.length ?? 0, "account")}</small>
      {MOVABLE.includes(data.status) && (
        <ActionButton disabledReason={disabledReason} onPress={() => onMove(data.postId)}>
          Move
        </ActionButton>
      )}
    </article>
  );
}

/** Why the post cannot be moved, as far as the page knows; the server decides. */
function moveDisabledReason({ importedAt }: dayPost_post$data): string | null {
  return importedAt ? "Another service publishes this post. Move it there." : null;
}
