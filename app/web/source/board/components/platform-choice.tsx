// A choice among the platforms of the accounts. Of many accounts, the first 100 count; the URL may name others.

import { graphql, useLazyLoadQuery } from "react-relay/hooks";

import type { platformChoiceQuery } from "../relay/__generated__/platformChoiceQuery.graphql";
import { platformName } from "../text/reasons";
import { ChoiceFilter } from "./fields";
import { Panel } from "./panel";

interface Props {
  readonly value: readonly string[];
  readonly onChange: (value: readonly string[]) => void;
}

export function PlatformChoice(props: Props) {
  return <Panel lines={1}>{(fetchKey) => <Options {...props} fetchKey={fetchKey} />}</Panel>;
}

function Options({ value, onChange, fetchKey }: Props & { readonly fetchKey: number }) {
  const { accountConnection } = useLazyLoadQuery<platformChoiceQuery>(
    graphql`
      query platformChoiceQuery {
        accountConnection(first: 100) {
          nodes {
            platform
          }
        }
      }
    `,
    {},
    { fetchKey },
  );
  const platforms = (accountConnection?.nodes ?? []).map(({ platform }) => platform);
  return (
    <ChoiceFilter
      label="Platform"
      values={value}
      options={[...new Set([...platforms, ...value])].sort()}
      name={platformName}
      onChange={onChange}
    />
  );
}
