// Credentials of an account of Bluesky: an app password.

import { ConnectForm, Field, NameField, type PlatformFormProps } from "./connect-form";

export function BlueskyForm({ isNew, onSubmit, ...props }: PlatformFormProps) {
  return (
    <ConnectForm
      {...props}
      verb="Connect"
      onSubmit={({ accountName, ...credentials }) =>
        onSubmit({ publisher: "BLUESKY", platform: "bluesky", accountName, credentials })
      }
    >
      <Field label="Handle" name="identifier" hint="Such as acme.bsky.social." />
      <Field
        label="App password"
        name="appPassword"
        type="password"
        hint="Create one in Bluesky’s settings, under App passwords. It is not the password of the account."
      />
      <Field
        label="Server"
        name="service"
        type="url"
        isOptional
        hint="Leave it empty for https://bsky.social."
      />
      {isNew && <NameField />}
    </ConnectForm>
  );
}
