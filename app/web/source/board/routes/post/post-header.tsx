// What was to be published, and when.

import { graphql, useFragment } from "react-relay/hooks";

import type { postHeader_post$key } from "../../relay/__generated__/postHeader_post.graphql";
import { Fact } from "../../components/fact";
import { Status } from "../../components/status";
import { Time, TimeWithDistance } from "../../components/time";
import { UserText } from "../../components/user-text";
import { postStatusOf } from "../../text/statuses";
import { fullTime, isZone } from "../../text/times";

const TEXT_LIMIT = 5_000;
/** Number of characters of media and platform contents that are shown. */
const JSON_LIMIT = 20_000;

export function PostHeader({ post }: { readonly post: postHeader_post$key }) {
  const data = useFragment(
    graphql`
      fragment postHeader_post on Post {
        postId
        status
        content
        reference
        scheduledFor
        timezone
        createdAt
        version
        importedAt
        media
        mediaIds
        platformContent
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
  const { timezone, scheduledFor } = data;
  return (
    <section className="post-header" aria-label="Post">
      <Status words={postStatusOf(data.status, data.destinations ?? [])} />
      {data.content && (
        <p className="post-text">
          <UserText text={data.content} limit={TEXT_LIMIT} />
        </p>
      )}
      <dl className="facts">
        <Fact name="Due">
          {scheduledFor && <TimeWithDistance at={scheduledFor} />}
          {!scheduledFor && (data.status === "DRAFT" ? "not scheduled" : "immediately")}
          {scheduledFor && timezone && isZone(timezone) && (
            <small className="muted"> {fullTime(new Date(scheduledFor), timezone)}</small>
          )}
        </Fact>
        <Fact name="Created">
          <Time at={data.createdAt} />
        </Fact>
        {data.reference && (
          <Fact name="Reference">
            <UserText text={data.reference} />
          </Fact>
        )}
        {data.importedAt && (
          <Fact name="Imported">
            <Time at={data.importedAt} />; another service publishes it
          </Fact>
        )}
        <Fact name="Version">{data.version}</Fact>
        <Fact name="Id">
          <code>{data.postId}</code>
        </Fact>
      </dl>
      <JsonDetails name="Media" value={data.media} />
      <JsonDetails name="Media ids" value={data.mediaIds} />
      <JsonDetails name="Texts by platform" value={data.platformContent} />
    </section>
  );
}

/** Content that platforms get unchanged, as JSON; nothing if it is empty. */
function JsonDetails({ name, value }: { readonly name: string; readonly value: unknown }) {
  if (value === null || typeof value !== "object" || Object.keys(value).length === 0) return null;
  return (
    <details>
      <summary>{name}</summary>
      <pre tabIndex={0}>
        <UserText text={JSON.stringify(value, null, 2)} limit={JSON_LIMIT} />
      </pre>
    </details>
  );
}
