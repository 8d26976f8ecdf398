// Credentials of an account of Mastodon: a code that a page of its server shows, or an access token.

import { useEffect, useRef, useState } from "react";
import { graphql, useMutation } from "react-relay/hooks";

import type {
  mastodonFormMutation,
  mastodonFormMutation$data,
} from "../../relay/__generated__/mastodonFormMutation.graphql";
import { Time } from "../../components/time";
import { webUrl } from "../../text/characters";
import type { ConnectInput } from "./connect-account";
import { ConnectForm, Field, NameField, type PlatformFormProps } from "./connect-form";

type Authorization = NonNullable<mastodonFormMutation$data["startMastodonAuthorization"]>;

export function MastodonForm({ isNew, isBusy, onSubmit, onError, ...props }: PlatformFormProps) {
  const [server, setServer] = useState("");
  const [accountName, setAccountName] = useState("");
  const [authorization, setAuthorization] = useState<Authorization | null>(null);
  const [start, isStarting] = useMutation<mastodonFormMutation>(graphql`
    mutation mastodonFormMutation($input: StartMastodonAuthorizationInput!) {
      startMastodonAuthorization(input: $input) {
        authorizationUrl
        authorization
        expiresAt
      }
    }
  `);

  function connect(credentials: ConnectInput["credentials"], name: string): void {
    onSubmit({ publisher: "MASTODON", platform: "mastodon", accountName: name || undefined, credentials });
  }

  function getLink(instance: string): void {
    onError(null);
    start({
      variables: { input: { instance } },
      onCompleted: ({ startMastodonAuthorization }) => setAuthorization(startMastodonAuthorization ?? null),
      onError,
    });
  }

  if (authorization) {
    return (
      <ConnectForm
        {...props}
        key="code"
        verb="Connect"
        isBusy={isBusy}
        onSubmit={({ code = "" }) =>
          connect({ authorization: authorization.authorization, code }, accountName)
        }
      >
        <PageLink authorization={authorization} />
        <Field label="Code" name="code" type="password" />
        <div className="buttons">
          <button
            type="button"
            onClick={() => {
              onError(null);
              setAuthorization(null);
            }}
          >
            Get a new link
          </button>
        </div>
      </ConnectForm>
    );
  }
  return (
    <ConnectForm
      {...props}
      key="server"
      verb="Continue"
      isBusy={isBusy || isStarting}
      onSubmit={({ instance = "", accessToken, accountName: name = "" }) => {
        const url = instance.includes("://") ? instance : `https://${instance}`;
        setServer(instance);
        setAccountName(name);
        if (accessToken === undefined) getLink(url);
        else connect({ instance: url, accessToken }, name);
      }}
    >
      <Field label="Server" name="instance" initial={server} hint="Such as mastodon.social." />
      {isNew && <NameField initial={accountName} />}
      <details>
        <summary>Use an access token instead</summary>
        <Field
          label="Access token"
          name="accessToken"
          type="password"
          isOptional
          hint="Of an application that you create in the settings of the account, under Development."
        />
      </details>
    </ConnectForm>
  );
}

function PageLink({ authorization }: { readonly authorization: Authorization }) {
  const link = useRef<HTMLAnchorElement>(null);
  const url = webUrl(authorization.authorizationUrl);
  useEffect(() => link.current?.focus(), []); // the button that asked for it is gone
  return (
    <>
      <p>
        Open the page of the server, sign in with the account, and allow the access. Then copy the code that the
        page shows. It is accepted until <Time at={authorization.expiresAt} />.
      </p>
      {url && (
        <div className="buttons">
          <a ref={link} className="button" href={url.href} target="_blank" rel="noopener noreferrer">
            Open {url.hostname}
          </a>
        </div>
      )}
    </>
  );
}
