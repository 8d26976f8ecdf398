// The mutations that connect an account. The server verifies the credentials first: its platform must accept them, or
// for WEBHOOK, their form must be right.

import { graphql, readInlineData, useRelayEnvironment } from "react-relay/hooks";

import type {
  connectAccount_account$data,
  connectAccount_account$key,
} from "../../relay/__generated__/connectAccount_account.graphql";
import type { connectAccountAgainMutation } from "../../relay/__generated__/connectAccountAgainMutation.graphql";
import type { connectAccountMutation } from "../../relay/__generated__/connectAccountMutation.graphql";
import { useIdempotentMutation } from "../../relay/idempotency";
import { removeUnused } from "../../relay/record-store";

/** Adapters of the worker whose accounts the board connects. */
export const PUBLISHERS = ["BLUESKY", "MASTODON", "WEBHOOK"] as const;
export type Publisher = (typeof PUBLISHERS)[number];

export interface ConnectInput {
  readonly publisher: Publisher;
  readonly platform: string;
  readonly platformUserId?: string | undefined;
  readonly accountName?: string | undefined;
  readonly credentials: Readonly<Record<string, string>>;
}

export type ConnectedAccount = connectAccount_account$data;

/** Read once, because the store may remove the account. */
const accountFragment = graphql`
  fragment connectAccount_account on Account @inline {
    accountId
    accountName
    platform
    platformUsername
    ...changes_account
    ...accountHeader_account
  }
`;

interface Handlers {
  readonly onConnected: (account: ConnectedAccount) => void;
  readonly onError: (error: Error) => void;
}

/** A function that connects a new account, or again the one with this number. */
export function useConnect(
  accountId: number | null,
): [connect: (connection: ConnectInput, handlers: Handlers) => void, isBusy: boolean] {
  const environment = useRelayEnvironment();
  const [sendNew, isNewBusy] = useIdempotentMutation<connectAccountMutation>(graphql`
    mutation connectAccountMutation($input: ConnectAccountInput!) {
      connectAccount(input: $input) {
        account {
          ...connectAccount_account
        }
      }
    }
  `);
  const [sendAgain, isAgainBusy] = useIdempotentMutation<connectAccountAgainMutation>(graphql`
    mutation connectAccountAgainMutation($input: SetAccountCredentialsInput!) {
      setAccountCredentials(input: $input) {
        account {
          ...connectAccount_account
        }
      }
    }
  `);
  function connect(connection: ConnectInput, handlers: Handlers): void {
    const { credentials } = connection;
    const finish = (account: connectAccount_account$key) => {
      removeUnused(environment); // the store names the result by the input, with the credentials
      handlers.onConnected(readInlineData(accountFragment, account));
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
