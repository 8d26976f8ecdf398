// One day of a month or a week. Keys open the day, which has all of its links.

import { graphql, useFragment } from "react-relay/hooks";
import { Link } from "wouter";

import type { dayCell_drafts$key } from "../../relay/__generated__/dayCell_drafts.graphql";
import type { dayCell_posts$data, dayCell_posts$key } from "../../relay/__generated__/dayCell_posts.graphql";
import { Icon } from "../../components/icon";
import { UserText } from "../../components/user-text";
import { formatDate, type LocalDate } from "../../text/dates";
import { postLabel } from "../../text/labels";
import { count, plainNumber } from "../../text/numbers";
import { postStatus } from "../../text/statuses";
import { clockMinutes } from "../../text/times";
import { useZone } from "../../text/zone";
import { calendarPath, type CalendarView, type PostStatus } from "../../url/calendar";
import { postPath } from "../../url/paths";

const TEXT_LIMIT = 80;

interface Props {
  readonly date: LocalDate;
  readonly view: CalendarView;
  /** Undefined for a date that the zone skipped. */
  readonly posts: dayCell_posts$key | undefined;
  readonly drafts: dayCell_drafts$key | undefined;
}

export function DayCell({ date, view, posts, drafts }: Props) {
  const day = useFragment(
    graphql`
      fragment dayCell_posts on CalendarBucket {
        counts {
          scheduled
          publishing
          published
          partiallyFailed
          failed
          total
        }
        posts {
          id
          postId
          content
          reference
          status
          scheduledFor
          createdAt
        }
      }
    `,
    posts,
  );
  const { counts: draftCounts } =
    useFragment(
      graphql`
        fragment dayCell_drafts on CalendarBucket {
          counts {
            draft
          }
        }
      `,
      drafts,
    ) ?? {};
  const draftCount = draftCounts?.draft ?? 0;
  const pathOf = (status: readonly PostStatus[]) => calendarPath({ ...view, span: "day", date, status });
  return (
    <>
      <Link href={pathOf(view.status)} tabIndex={-1} className="date">
        <span className="short">{formatDate(date, "day")}</span>
        <span className="full">{formatDate(date, "short")}</span>
      </Link>
      {day && day.counts.total > 0 && (
        <ul className="counts">
          {countsOf(day.counts).map(([status, number]) => (
            <li key={status}>
              <Link
                href={pathOf([status])}
                tabIndex={-1}
                className={`status tone-${postStatus(status).tone}`}
              >
                <Icon name={postStatus(status).icon} /> {plainNumber(number)}{" "}
                {postStatus(status).name.toLowerCase()}
              </Link>
            </li>
          ))}
        </ul>
      )}
      {day && <FirstPosts posts={day.posts} total={day.counts.total} path={pathOf(view.status)} />}
      {draftCount > 0 && (
        <Link href={pathOf(["DRAFT"])} tabIndex={-1} className="status drafts">
          <Icon name="draft" /> {count(draftCount, "draft")}
        </Link>
      )}
    </>
  );
}

function countsOf(counts: dayCell_posts$data["counts"]): (readonly [PostStatus, number])[] {
  const all = [
    ["FAILED", counts.failed],
    ["PARTIALLY_FAILED", counts.partiallyFailed],
    ["PUBLISHED", counts.published],
    ["PUBLISHING", counts.publishing],
    ["SCHEDULED", counts.scheduled],
  ] as const;
  return all.filter(([, number]) => number > 0);
}

interface FirstPostsProps {
  readonly posts: dayCell_posts$data["posts"];
  readonly total: number;
  readonly path: string;
}

function FirstPosts({ posts, total, path }: FirstPostsProps) {
  const zone = useZone();
  return (
    <ul className="first-posts">
      {posts.map(({ id, postId, content, reference, status, scheduledFor, createdAt }) => (
        <li key={id} className={`tone-${postStatus(status).tone}`}>
          <Icon name={postStatus(status).icon} />
          <span className="visually-hidden">{postStatus(status).name} </span>
          <Link href={postPath(postId)} tabIndex={-1}>
            {clockMinutes(new Date(scheduledFor ?? createdAt), zone)}{" "}
            <UserText text={postLabel({ content, reference })} limit={TEXT_LIMIT} />
          </Link>
        </li>
      ))}
      {total > posts.length && (
        <li>
          <Link href={path} tabIndex={-1}>
            {plainNumber(total - posts.length)} more
          </Link>
        </li>
      )}
    </ul>
  );
}
