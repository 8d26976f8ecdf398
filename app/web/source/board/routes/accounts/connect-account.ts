// The mutations that connect an account, after its platform has accepted the credentials.

import { graphql } from "react-relay/hooks";

import type { connectAccountAgainMutation } from "../../relay/__generated__/connectAccountAgainMutation.graphql";
import type { connectAccountMutation } from "../../relay/__generated__/connectAccountMutation.graphql";
import type { connectDialog_account$key } from "../../relay/__generated__/connectDialog_account.graphql";
import { useIdempotentMutation } from "../../relay/idempotency";

/** Adapters of the worker whose accounts the board connects. */
export const PUBLISHERS = ["BLUESKY", "MASTODON", "WEBHOOK"] as const;
export type Publisher = (typeof PUBLISHERS)[number];

export interface Connection {
  readonly publisher: Publisher;
  readonly platform: string;
  readonly platformUserId?: string | undefined;
  readonly accountName?: string | undefined;
  readonly credentials: Readonly<Record<string, string>>;
}

interface Handlers {
  readonly onConnected: (account: connectDialog_account$key) => void;
  readonly onError: (error: Error) => void;
}

/** A function that connects a new account, or again the one with this number. */
export function useConnect(
  accountId: number | null,
): [connect: (connection: Connection, handlers: Handlers) => void, isBusy: boolean] {
  const [sendNew, isNewBusy] = useIdempotentMutation<connectAccountMutation>(graphql`
    mutation connectAccountMutation($input: ConnectAccountInput!) {
      connectAccount(input: $input) {
        account {
          ...connectDialog_account
          ...changes_account
          ...accountHeader_account
        }
      }
    }
  `);
  const [sendAgain, isAgainBusy] = useIdempotentMutation<connectAccountAgainMutation>(graphql`
    mutation connectAccountAgainMutation($input: SetAccountCredentialsInput!) {
      setAccountCredentials(input: $input) {
        account {
          ...connectDialog_account
          ...changes_account
          ...accountHeader_account
        }
      }
    }
  `);
  function connect(connection: Connection, { onConnected, onError }: Handlers): void {
    if (accountId === null) {
      sendNew(
        { ...connection, verify: true },
        { onCompleted: ({ connectAccount }) => onConnected(connectAccount!.account!), onError },
      );
    } else {
      const { credentials } = connection;
      sendAgain(
        { accountId, credentials, verify: true },
        {
          onCompleted: ({ setAccountCredentials }) => onConnected(setAccountCredentials!.account!),
          onError,
        },
      );
    }
  }
  return [connect, isNewBusy || isAgainBusy];
}
