// One change, with its post, who made it, and the values before and after.

import { graphql, useFragment } from "react-relay/hooks";
import { Link } from "wouter";

import type {
  changeRow_change$data,
  changeRow_change$key,
} from "../../relay/__generated__/changeRow_change.graphql";
import { ChangeItem } from "../../components/change-item";
import { UserText } from "../../components/user-text";
import { keyLabel } from "../../text/actors";
import { postLabel } from "../../text/labels";
import { activityPath, type ActivityView } from "../../url/activity";
import { postPath } from "../../url/paths";
import { ChangedValues } from "./changed-values";

const TEXT_LIMIT = 100;

interface Props {
  readonly change: changeRow_change$key;
  readonly view: ActivityView;
  /** True if it happened since the last visit. */
  readonly isNew: boolean;
}

export function ChangeRow({ change, view, isNew }: Props) {
  const data = useFragment(
    graphql`
      fragment changeRow_change on Change {
        postId
        values
        previous
        actor {
          keyId
          keyName
          person
        }
        post {
          content
          reference
        }
        ...changeItem_change
      }
    `,
    change,
  );
  return (
    <li>
      {isNew && <strong className="badge">new</strong>} <ChangeItem change={data} />
      {data.actor && <ActorLinks actor={data.actor} view={view} />}
      {data.postId && (
        <small className="changed-post">
          {data.post ? (
            <Link href={postPath(data.postId)}>
              <UserText text={postLabel(data.post)} limit={TEXT_LIMIT} />
            </Link>
          ) : (
            <span className="muted">The post was deleted.</span>
          )}
        </small>
      )}
      <ChangedValues values={data.values} previous={data.previous} />
    </li>
  );
}

interface ActorProps {
  readonly actor: NonNullable<changeRow_change$data["actor"]>;
  readonly view: ActivityView;
}

/** Person and key; each leads to the changes that it made. */
function ActorLinks({ actor: { keyId, keyName, person }, view }: ActorProps) {
  return (
    <span className="muted">
      {" by "}
      {person && (
        <Link href={activityPath({ ...view, person, key: null })}>
          <UserText text={person} />
        </Link>
      )}
      {person && keyId && " with "}
      {keyId && (
        <Link href={activityPath({ ...view, person: null, key: keyId })}>
          <UserText text={keyLabel(keyName)} />
        </Link>
      )}
    </span>
  );
}
