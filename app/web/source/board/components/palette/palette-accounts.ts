// Accounts whose names have the text of the palette.

import { useEffect, useState } from "react";
import { useRelayEnvironment } from "react-relay/hooks";
import { fetchQuery, graphql, type Subscription } from "relay-runtime";

import type {
  paletteAccountsQuery,
  paletteAccountsQuery$data,
} from "../../relay/__generated__/paletteAccountsQuery.graphql";

export type FoundAccount = NonNullable<paletteAccountsQuery$data["accountConnection"]>["nodes"][number];

interface Result {
  readonly accounts: readonly FoundAccount[];
  /** Why the accounts could not be read. */
  readonly problem: string;
}

/** Time without typing after which the server is asked. */
const DELAY_MS = 200;
const NOTHING: Result = { accounts: [], problem: "" };

const query = graphql`
  query paletteAccountsQuery($search: String!) {
    accountConnection(first: 50, filter: { search: $search }) {
      nodes {
        accountId
        accountName
        platform
      }
    }
  }
`;

/** Nothing for an empty text, and until the answer for this text has arrived. */
export function useAccountSearch(text: string): Result {
  const environment = useRelayEnvironment();
  const [result, setResult] = useState({ ...NOTHING, text: "" });
  useEffect(() => {
    if (text === "") return;
    let request: Subscription | undefined;
    const timer = setTimeout(() => {
      request = fetchQuery<paletteAccountsQuery>(environment, query, { search: text }).subscribe({
        next: ({ accountConnection }) =>
          setResult({ text, accounts: accountConnection?.nodes ?? [], problem: "" }),
        error: ({ message }: Error) => setResult({ text, accounts: [], problem: message }),
      });
    }, DELAY_MS);
    return () => {
      clearTimeout(timer);
      request?.unsubscribe(); // a late answer would replace a newer one
    };
  }, [environment, text]);
  return result.text === text ? result : NOTHING;
}
