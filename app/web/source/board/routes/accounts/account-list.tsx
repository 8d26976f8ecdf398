// One page of the accounts that match the filter.

import { graphql } from "react-relay/hooks";
import { Link, useLocation } from "wouter";

import type { accountListQuery } from "../../relay/__generated__/accountListQuery.graphql";
import { FirstPost } from "../../components/first-post";
import { NextPage } from "../../components/pager";
import { VirtualTable } from "../../components/table/virtual-table";
import { useLiveQuery } from "../../relay/live-query";
import { cappedNumber, totalOf } from "../../text/numbers";
import { accountsPath, ALL_ACCOUNTS, type AccountsView } from "../../url/accounts";
import { withoutEmpty } from "../../url/parameters";
import { accountPath } from "../../url/paths";
import { ACCOUNT_HEADINGS, AccountRow } from "./account-row";

interface Props {
  readonly view: AccountsView;
  readonly fetchKey: number;
}

export function AccountList({ view, fetchKey }: Props) {
  const [, navigate] = useLocation();
  const { accountConnection } = useLiveQuery<accountListQuery>(
    graphql`
      query accountListQuery($filter: AccountFilter!, $orderBy: AccountOrder!, $after: String) {
        accountConnection(first: 50, after: $after, filter: $filter, orderBy: $orderBy) {
          totalCountCapped
          totalCountIsCapped
          nodes {
            id
            accountId
            profileUrl
            ...accountRow_account
          }
          pageInfo {
            hasNextPage
            endCursor
          }
        }
      }
    `,
    {
      filter: withoutEmpty({
        canPost: view.canPost && view.canPost === "yes",
        platform: view.platform,
        search: view.q,
      }),
      orderBy: { field: view.order, direction: view.direction },
      after: view.after || null,
    },
    { fetchKey },
  );
  if (!accountConnection) return null;
  const { nodes, pageInfo } = accountConnection;
  if (nodes.length === 0) return <NoAccounts view={view} />;
  const total = totalOf(accountConnection);
  return (
    <>
      <p>
        {cappedNumber(total)} {total.count === 1 ? "account" : "accounts"}
      </p>
      <VirtualTable
        label="Accounts"
        className="accounts-table"
        headings={ACCOUNT_HEADINGS}
        rows={nodes}
        rowCount={nodes.length}
        initialId={null}
        onOpen={({ accountId }) => navigate(accountPath(accountId))}
        externalUrl={({ profileUrl }) => profileUrl}
      >
        {(account) => <AccountRow account={account} />}
      </VirtualTable>
      <NextPage pageInfo={pageInfo} pathAfter={(after) => accountsPath({ ...view, after })} />
    </>
  );
}

function NoAccounts({ view }: { readonly view: AccountsView }) {
  const isFiltered = view.canPost !== null || view.platform.length > 0 || view.q !== "";
  if (!isFiltered) {
    return (
      <>
        <p>No account is connected yet.</p>
        <FirstPost />
      </>
    );
  }
  return (
    <div className="empty">
      <p>No account matches these filters.</p>
      <Link href={accountsPath(ALL_ACCOUNTS)} className="button">
        Show all accounts
      </Link>
    </div>
  );
}
