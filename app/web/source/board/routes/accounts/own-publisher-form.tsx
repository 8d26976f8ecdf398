// Credentials of an account whose posts a program of the user publishes: its URLs, and the secret of requests.

import { useState } from "react";

import { ConnectForm, Field, NameField, type PlatformFormProps } from "./connect-form";

const SECRET_BYTES = 32;

export function OwnPublisherForm({ isNew, onSubmit, ...props }: PlatformFormProps) {
  // One for all presses: a repeated request must be the same.
  const [newSecret] = useState(makeSecret);
  return (
    <ConnectForm
      {...props}
      verb="Connect"
      onSubmit={({ accountName, platform = "", platformUserId, secret, ...urls }) =>
        onSubmit(
          {
            publisher: "WEBHOOK",
            platform,
            platformUserId,
            accountName,
            credentials: { ...urls, secret: secret ?? newSecret },
          },
          secret === undefined ? newSecret : undefined,
        )
      }
    >
      {isNew && (
        <>
          <Field
            label="Platform"
            name="platform"
            hint="Where your publisher publishes, such as linkedin: lower-case letters, digits, _ and -."
          />
          <Field
            label="Id of the account on the platform"
            name="platformUserId"
            isOptional
            hint="An account with the same id is connected again."
          />
        </>
      )}
      <Field
        label="URL of your publisher"
        name="url"
        type="url"
        hint="The server sends each post to it, in a signed request."
      />
      <Field
        label="Lookup URL"
        name="lookupUrl"
        type="url"
        isOptional
        hint="The server asks there whether a post is published."
      />
      <Field
        label="Signing secret"
        name="secret"
        type="password"
        isOptional
        hint="Leave it empty for a new one, which is shown once."
      />
      {isNew && <NameField />}
    </ConnectForm>
  );
}

/** A secret in the format of Standard Webhooks. */
function makeSecret(): string {
  return `whsec_${btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(SECRET_BYTES))))}`;
}
