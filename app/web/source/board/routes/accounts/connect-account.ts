// The mutations that connect an account, after its platform has accepted the credentials.

import { graphql, useRelayEnvironment } from "react-relay/hooks";

import type {
  connectAccountMutation,
  connectAccountMutation$data,
} from "../../relay/__generated__/connectAccountMutation.graphql";
import type { connectAccountAgainMutation } from "../../relay/__generated__/connectAccountAgainMutation.graphql";
import { removeUnused } from "../../relay/environment";
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

export type ConnectedAccount = NonNullable<
  NonNullable<connectAccountMutation$data["connectAccount"]>["account"]
>;

interface Handlers {
  readonly onConnected: (account: ConnectedAccount) => void;
  readonly onError: (error: Error) => void;
}

/** A function that connects a new account, or again the one with this number. */
export function useConnect(
  accountId: number | null,
): [connect: (connection: Connection, handlers: Handlers) => void, isBusy: boolean] {
  const environment = useRelayEnvironment();
  const [sendNew, isNewBusy] = useIdempotentMutation<connectAccountMutation>(graphql`
    mutation connectAccountMutation($input: ConnectAccountInput!) {
      connectAccount(input: $input) {
        account {
          accountId
          accountName
          platform
          platformUsername
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
          accountId
          accountName
          platform
          platformUsername
          ...changes_account
          ...accountHeader_account
        }
      }
    }
  `);
  function connect(connection: Connection, handlers: Handlers): void {
    const { credentials } = connection;
    const finish = (account: ConnectedAccount) => {
      removeUnused(environment); // the store names the result by the input, with the credentials
      handlers.onConnected(account);
    };
    const onError = (error: Error) => {
      removeUnused(environment);
      handlers.onError(error);
    };
    if (accountId === null) {
      sendNew(
        { ...connection, verify: true },
        { onCompleted: ({ connectAccount }) => finish(connectAccount!.account!), onError },
      );
    } else {
      sendAgain(
        { accountId, credentials, verify: true },
        { onCompleted: ({ setAccountCredentials }) => finish(setAccountCredentials!.account!), onError },
      );
    }
  }
  return [connect, isNewBusy || isAgainBusy];
}
