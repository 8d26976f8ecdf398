// What a change was, when, and on which account.

import { graphql, useFragment } from "react-relay/hooks";
import { Link } from "wouter";

import type { changeItem_change$key } from "../relay/__generated__/changeItem_change.graphql";
import { accountPath } from "../url/paths";
import { Sentence, Time } from "./time";
import { UserText } from "./user-text";

export function ChangeItem({ change }: { readonly change: changeItem_change$key }) {
  const { happenedAt, sentence, account } = useFragment(
    graphql`
      fragment changeItem_change on Change {
        happenedAt
        sentence
        account {
          accountId
          accountName
        }
      }
    `,
    change,
  );
  return (
    <>
      <Time at={happenedAt} />{" "}
      {account && (
        <>
          <Link href={accountPath(account.accountId)}>
            <UserText text={account.accountName} />
          </Link>
          :{" "}
        </>
      )}
      <Sentence text={sentence} />
    </>
  );
}
