// Choices of platform and account. Of many accounts, the first 100; the URL may name others.

import { graphql, useLazyLoadQuery } from "react-relay/hooks";

import type { accountFiltersQuery } from "../relay/__generated__/accountFiltersQuery.graphql";
import { accountNames } from "../text/labels";
import { platformName } from "../text/reasons";
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

/** A choice among the platforms of the accounts. */
export function PlatformFilter(props: PlatformProps) {
  return <Panel lines={1}>{(fetchKey) => <PlatformChoice {...props} fetchKey={fetchKey} />}</Panel>;
}

function AccountChoices({ filter, onChange, fetchKey }: Props & { readonly fetchKey: number }) {
  const names = accountNames(useFirstAccounts(fetchKey));
  const numbers = [...new Set([...names.keys(), ...filter.account])];
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
    </>
  );
}

function PlatformChoice({ values, onChange, fetchKey }: PlatformProps & { readonly fetchKey: number }) {
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
