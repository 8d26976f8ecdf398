// Choices of platform and account. Of many accounts, the first 100; the URL may name others.

import { graphql, useLazyLoadQuery } from "react-relay/hooks";

import type { accountFiltersOthersQuery } from "../relay/__generated__/accountFiltersOthersQuery.graphql";
import type { accountFiltersQuery } from "../relay/__generated__/accountFiltersQuery.graphql";
import { accountNames } from "../text/labels";
import { NAMED_PLATFORMS, platformName } from "../text/reasons";
import type { AccountFilter } from "../url/account-filter";
import { ChoiceFilter } from "./fields";
import { Panel } from "./panel";

interface Props {
  readonly filter: AccountFilter;
  readonly onChange: (changes: Partial<AccountFilter>) => void;
}

/** A choice of platform and one of account. */
export function AccountFilters(props: Props) {
  return <Panel lines={1}>{(fetchKey) => <AccountChoices {...props} fetchKey={fetchKey} />}</Panel>;
}

interface PlatformProps {
  readonly values: readonly string[];
  readonly onChange: (values: readonly string[]) => void;
}

/** A choice among the platforms that have a name here, and those of the first accounts. */
export function PlatformFilter(props: PlatformProps) {
  return <Panel lines={1}>{(fetchKey) => <PlatformChoice {...props} fetchKey={fetchKey} />}</Panel>;
}

function AccountChoices({ filter, onChange, fetchKey }: Props & { readonly fetchKey: number }) {
  const { nodes: first, hasMore } = useFirstAccounts(fetchKey);
  const others = filter.account.filter((number) => !first.some(({ accountId }) => accountId === number));
  const names = accountNames([...first, ...useAccountsOf(others, fetchKey)]);
  const numbers = [...new Set([...first.map(({ accountId }) => accountId), ...filter.account])];
  return (
    <>
      <PlatformChoice
        values={filter.platform}
        onChange={(platform) => onChange({ platform })}
        fetchKey={fetchKey}
      />
      <ChoiceFilter
        label="Account"
        values={filter.account.map(String)}
        options={numbers.map(String)}
        name={(number) => names.get(Number(number)) ?? `Account ${number}`}
        onChange={(account) => onChange({ account: account.map(Number) })}
      />
      {hasMore && <small className="muted">Only the first {first.length} accounts are listed.</small>}
    </>
  );
}

function PlatformChoice({ values, onChange, fetchKey }: PlatformProps & { readonly fetchKey: number }) {
  const platforms = useFirstAccounts(fetchKey).nodes.map(({ platform }) => platform);
  return (
    <ChoiceFilter
      label="Platform"
      values={values}
      options={[...new Set([...NAMED_PLATFORMS, ...platforms, ...values])].sort()}
      name={platformName}
      onChange={onChange}
    />
  );
}

/** The first accounts of the workspace, and whether there are more. */
export function useFirstAccounts(fetchKey: number) {
  const { accountConnection } = useLazyLoadQuery<accountFiltersQuery>(
    graphql`
      query accountFiltersQuery {
        accountConnection(first: 100) {
          nodes {
            accountId
            accountName
            platform
          }
          pageInfo {
            hasNextPage
          }
        }
      }
    `,
    {},
    { fetchKey },
  );
  return { nodes: accountConnection?.nodes ?? [], hasMore: accountConnection?.pageInfo.hasNextPage ?? false };
}

/** The accounts with these numbers, without those that do not exist; makes no request for none. */
function useAccountsOf(accountIds: readonly number[], fetchKey: number) {
  const { accountConnection } = useLazyLoadQuery<accountFiltersOthersQuery>(
    graphql`
      query accountFiltersOthersQuery($accountIds: [Int!]!, $isNeeded: Boolean!) {
        accountConnection(first: 100, filter: { accountId: $accountIds }) @include(if: $isNeeded) {
          nodes {
            accountId
            accountName
            platform
          }
        }
      }
    `,
    { accountIds, isNeeded: accountIds.length > 0 },
    { fetchKey },
  );
  return accountConnection?.nodes ?? [];
}
