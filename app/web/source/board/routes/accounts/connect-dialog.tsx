// Connects an account on which the worker of this server publishes: a new one, or one again.

import { useEffect, useRef, useState } from "react";
import { Link } from "wouter";

import { Dialog } from "../../components/dialog";
import { Choice } from "../../components/fields";
import { UserText } from "../../components/user-text";
import { plainAccountLabel } from "../../text/labels";
import { accountPath } from "../../url/paths";
import { SecretStep } from "../webhooks/secret-step";
import { BlueskyForm } from "./bluesky-form";
import { PUBLISHERS, useConnect, type ConnectedAccount, type Publisher } from "./connect-account";
import { MastodonForm } from "./mastodon-form";
import { OwnPublisherForm } from "./own-publisher-form";

interface Props {
  /** Account to connect again; null for a new one. */
  readonly account: { readonly accountId: number; readonly publisher: Publisher; readonly name: string } | null;
  readonly onClose: () => void;
}

const PUBLISHER_WORDS = {
  BLUESKY: "Bluesky",
  MASTODON: "Mastodon",
  WEBHOOK: "Your own publisher (webhook)",
};
const FORMS = { BLUESKY: BlueskyForm, MASTODON: MastodonForm, WEBHOOK: OwnPublisherForm };

export function ConnectDialog({ account, onClose }: Props) {
  const [publisher, setPublisher] = useState(account?.publisher ?? "BLUESKY");
  const [error, setError] = useState<Error | null>(null);
  const [result, setResult] = useState<ConnectedProps["result"] | null>(null);
  const [connect, isBusy] = useConnect(account?.accountId ?? null);
  const Form = FORMS[publisher];
  if (result) return <Connected result={result} isNew={account === null} onClose={onClose} />;
  return (
    <Dialog
      title={account ? `Connect ${account.name} again` : "Connect an account"}
      // Open until the account is connected, after which a new secret is shown.
      {...(!isBusy && { onClose })}
    >
      {!account && (
        <>
          <p>This server then publishes the posts of the account.</p>
          <Choice
            label="Connect to"
            value={publisher}
            options={PUBLISHERS}
            name={(option) => PUBLISHER_WORDS[option]}
            onChange={(option) => {
              setError(null);
              setPublisher(option);
            }}
          />
        </>
      )}
      <Form
        key={publisher}
        isNew={account === null}
        isBusy={isBusy}
        error={error}
        onSubmit={(connection, newSecret) => {
          setError(null);
          connect(connection, {
            onConnected: (connected) => setResult({ account: connected, newSecret }),
            onError: setError,
          });
        }}
        onError={setError}
        onClose={onClose}
      />
    </Dialog>
  );
}

interface ConnectedProps {
  readonly result: {
    readonly account: ConnectedAccount;
    /** Secret that the page has made; undefined without one. */
    readonly newSecret: string | undefined;
  };
  readonly isNew: boolean;
  readonly onClose: () => void;
}

/** Says which account it is. A new secret must be stored before the dialog closes, so no link leaves it then. */
function Connected({ result: { account, newSecret }, isNew, onClose }: ConnectedProps) {
  const sentence = useRef<HTMLParagraphElement>(null);
  useEffect(() => {
    if (newSecret === undefined) sentence.current?.focus(); // the button that connected it is gone
  }, [newSecret]);
  const { accountId, accountName, platform, platformUsername } = account;
  const title = "The account is connected";
  const description = (
    <p ref={sentence} tabIndex={-1} className={newSecret === undefined ? "sentence" : ""}>
      {isNew && newSecret === undefined ? (
        <Link href={accountPath(accountId)} onClick={onClose}>
          <UserText text={plainAccountLabel(accountName, platform)} />
        </Link>
      ) : (
        <UserText text={plainAccountLabel(accountName, platform)} />
      )}
      {platformUsername && platformUsername !== accountName && (
        <>
          {", "}
          <UserText text={platformUsername} />
        </>
      )}
      , number {accountId}. Its posts go out when they are due; what failed before stays failed until you retry it.
    </p>
  );
  if (newSecret !== undefined) {
    return (
      <Dialog title={title}>
        <SecretStep
          secret={newSecret}
          warning="Store the secret of your publisher now: it is not displayed again."
          onClose={onClose}
        >
          {description}
        </SecretStep>
      </Dialog>
    );
  }
  return (
    <Dialog title={title} onClose={onClose}>
      {description}
      <div className="buttons">
        <button type="button" className="primary" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}
