// One day by hour, as long as it is on the clock of the zone: 23, 24 or 25 hours. Drafts are apart.

import { useState } from "react";
import { graphql, useRelayEnvironment } from "react-relay/hooks";
import { Link } from "wouter";

import type { dayTableQuery, dayTableQuery$data } from "../../relay/__generated__/dayTableQuery.graphql";
import { refresh, useLiveQuery } from "../../relay/live-query";
import { count, plainNumber } from "../../text/numbers";
import { clockMinutes, clockWithOffset, HOUR_MS } from "../../text/times";
import type { CalendarView } from "../../url/calendar";
import { resultsPath } from "../../url/results";
import type { CalendarVariables } from "./calendar-variables";
import { DayPost } from "./day-post";
import { MoveDialog } from "./move-dialog";

const query = graphql`
  query dayTableQuery(
    $from: DateTime!
    $to: DateTime!
    $timezone: String!
    $posts: CalendarFilter!
    $drafts: CalendarFilter!
  ) {
    posts: calendar(from: $from, to: $to, timezone: $timezone, bucket: HOUR, first: 20, filter: $posts) {
      buckets {
        start
        end
        counts {
          total
        }
        posts {
          id
          ...dayPost_post
        }
      }
    }
    drafts: calendar(from: $from, to: $to, timezone: $timezone, bucket: DAY, first: 20, filter: $drafts) {
      buckets {
        counts {
          draft
        }
        posts {
          id
          ...dayPost_post
        }
      }
    }
  }
`;

const HOURS_PER_DAY = 24;

type Hour = NonNullable<dayTableQuery$data["posts"]>["buckets"][number];
type DraftBucket = NonNullable<dayTableQuery$data["drafts"]>["buckets"][number];

interface Props {
  readonly view: CalendarView;
  readonly variables: CalendarVariables;
  readonly fetchKey: number;
}

export function DayTable({ view, variables, fetchKey }: Props) {
  const environment = useRelayEnvironment();
  const { posts, drafts } = useLiveQuery<dayTableQuery>(query, variables, {
    fetchKey,
    isRelevant: ({ postId }) => postId !== null,
  });
  const hours = posts?.buckets ?? [];
  const total = hours.reduce((sum, { counts }) => sum + counts.total, 0);
  const length = (Date.parse(variables.to) - Date.parse(variables.from)) / HOUR_MS;
  // Here, because a live change may move the post to another row while the dialog is open.
  const [movingId, setMovingId] = useState<string | null>(null);
  const [movedId, setMovedId] = useState<string | null>(null);
  return (
    <>
      <p>
        {count(total, "post")}.
        {length !== HOURS_PER_DAY && ` The clock changes on this day: it has ${plainNumber(length)} hours.`}
      </p>
      <table className="day">
        <caption className="visually-hidden">Posts by hour, on the clock of {variables.timezone}</caption>
        <tbody>
          {hours.map((hour) => (
            <tr key={hour.start}>
              <th scope="row">
                {(length === HOURS_PER_DAY ? clockMinutes : clockWithOffset)(
                  new Date(hour.start),
                  variables.timezone,
                )}
              </th>
              <td>
                <HourPosts hour={hour} view={view} movedId={movedId} onMove={setMovingId} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <Drafts bucket={drafts?.buckets[0]} movedId={movedId} onMove={setMovingId} />
      {movingId !== null && (
        <MoveDialog
          postId={movingId}
          onClose={() => setMovingId(null)}
          onMoved={() => {
            setMovedId(movingId);
            refresh<dayTableQuery>(environment, query, variables);
          }}
        />
      )}
    </>
  );
}

interface PostsProps {
  /** Id of the post that was moved last. */
  readonly movedId: string | null;
  readonly onMove: (postId: string) => void;
}

interface HourProps extends PostsProps {
  readonly hour: Hour;
  readonly view: CalendarView;
}

function HourPosts({ hour, view: { platform, account }, ...props }: HourProps) {
  const more = hour.counts.total - hour.posts.length;
  const due = { platform, account, from: new Date(hour.start), to: new Date(hour.end) };
  return (
    <>
      {hour.posts.map((post) => (
        <DayPost key={post.id} post={post} {...props} />
      ))}
      {more > 0 && (
        <p>
          {plainNumber(more)} more:{" "}
          <Link href={resultsPath({ ...due, order: "SCHEDULED_FOR", direction: "ASC" })}>
            all results due in this hour
          </Link>
        </p>
      )}
    </>
  );
}

interface DraftsProps extends PostsProps {
  readonly bucket: DraftBucket | undefined;
}

function Drafts({ bucket, ...props }: DraftsProps) {
  if (!bucket || bucket.counts.draft === 0) return null;
  return (
    <section aria-labelledby="drafts" className="day-drafts">
      <h2 id="drafts">{count(bucket.counts.draft, "draft")}</h2>
      <p className="muted">
        Drafts are not published until they are scheduled. One without a time is at the time of its creation.
      </p>
      {bucket.posts.map((post) => (
        <DayPost key={post.id} post={post} {...props} />
      ))}
      {bucket.counts.draft > bucket.posts.length && (
        <p className="muted">These are the first {bucket.posts.length}.</p>
      )}
    </section>
  );
}
