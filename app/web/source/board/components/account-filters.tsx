// Choices of platform and account. Of many accounts, the first 100; the URL may name others.

import { graphql, useLazyLoadQuery } from "react-relay/hooks";

import type { accountFiltersQuery } from "../relay/__generated__/accountFiltersQuery.graphql";
import { plainAccountLabel } from "../text/labels";
import { platformName } from "../text/reasons";
import type { AccountFilter } from "../url/account-filter";
import { ChoiceFilter } from "./fields";

interface Props {
  readonly filter: AccountFilter;
  readonly onChange: (changes: Partial<AccountFilter>) => void;
  readonly fetchKey: number;
}

/** A choice of platform and one of account. */
export function AccountFilters({ filter, onChange, fetchKey }: Props) {
  const names = new Map(
    useFirstAccounts(fetchKey).map(({ accountId, accountName, platform }) => [
      String(accountId),
      plainAccountLabel(accountName, platform),
    ]),
  );
  const ids = [...new Set([...names.keys(), ...filter.account.map(String)])];
  return (
    <>
      <PlatformFilter
        values={filter.platform}
        onChange={(platform) => onChange({ platform })}
        fetchKey={fetchKey}
      />
      <ChoiceFilter
        label="Account"
        values={filter.account.map(String)}
        options={ids}
        name={(id) => names.get(id) ?? `Account ${id}`}
        onChange={(account) => onChange({ account: account.map(Number) })}
      />
    </>
  );
}

interface PlatformProps {
  readonly values: readonly string[];
  readonly onChange: (values: readonly string[]) => void;
  readonly fetchKey: number;
}

/** A choice among the platforms of the accounts. */
export function PlatformFilter({ values, onChange, fetchKey }: PlatformProps) {
  const platforms = useFirstAccounts(fetchKey).map(({ platform }) => platform);
  return (
    <ChoiceFilter
      label="Platform"
      values={values}
      options={[...new Set([...platforms, ...values])].sort()}
      name={platformName}
      onChange={onChange}
    />
  );
}

/** The first accounts of the workspace. */
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
        }
      }
    `,
    {},
    { fetchKey },
  );
  return accountConnection?.nodes ?? [];
}
