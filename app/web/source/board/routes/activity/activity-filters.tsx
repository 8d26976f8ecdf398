// Which changes are shown.

import { Link, useLocation } from "wouter";

import { ChoiceFilter } from "../../components/fields";
import { UserText } from "../../components/user-text";
import { filterPhrase } from "../../text/filter-words";
import { activityPath, CHANGE_TYPES, type ActivityView, type ChangeType } from "../../url/activity";

const TYPE_WORDS: Readonly<Record<ChangeType, string>> = {
  POST_CREATED: "Post created",
  POST_CHANGED: "Post changed",
  POST_DELETED: "Post deleted",
  DESTINATION_ADDED: "Account added to a post",
  DESTINATION_CHANGED: "Progress or result on an account",
  DESTINATION_REMOVED: "Account removed from a post",
  DESTINATION_DUPLICATED: "Published twice",
  ACCOUNT_CONNECTED: "Account connected",
  ACCOUNT_CHANGED: "Account changed",
  PUBLISHER_MISUSED: "Publication without a started attempt",
  WEBHOOK_DISABLED: "Webhook disabled",
};

/** The filters in words. */
export function activityWords({ types, person, key }: ActivityView): string[] {
  return [
    ...filterPhrase("What", types.map((type) => TYPE_WORDS[type])),
    ...filterPhrase("By", person ? [person] : []),
    ...(key ? ["Only changes with one API key"] : []),
  ];
}

export function ActivityFilters({ view }: { readonly view: ActivityView }) {
  const [, navigate] = useLocation();
  return (
    <search className="filters activity-filters">
      <ChoiceFilter
        label="What"
        values={view.types}
        options={CHANGE_TYPES}
        name={(type) => TYPE_WORDS[type]}
        onChange={(types) => navigate(activityPath({ ...view, types }))}
      />
      {(view.person ?? view.key) && (
        <p>
          Only changes
          {view.person && (
            <>
              {" by "}
              <UserText text={view.person} />
            </>
          )}
          {view.key && " with one API key"}. <Link href={activityPath({ ...view, person: null, key: null })}>Show those of everyone</Link>
        </p>
      )}
    </search>
  );
}
