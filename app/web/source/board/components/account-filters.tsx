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

export function AccountFilters({ filter, onChange, fetchKey }: Props) {
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
  const accounts = accountConnection?.nodes ?? [];
  const platforms = [...new Set([...accounts.map(({ platform }) => platform), ...filter.platform])].sort();
  const names = new Map(
    accounts.map(({ accountId, accountName, platform }) => [
      String(accountId),
      plainAccountLabel(accountName, platform),
    ]),
  );
  const ids = [...new Set([...names.keys(), ...filter.account.map(String)])];
  return (
    <>
      <ChoiceFilter
        label="Platform"
        values={filter.platform}
        options={platforms}
        name={platformName}
        onChange={(platform) => onChange({ platform })}
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
