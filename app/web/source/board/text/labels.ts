// Texts by which lists name posts and accounts.

import { plainText } from "./characters";
import { platformName } from "./reasons";

/** The text of a post, or else its reference. */
export function postLabel(
  post: { readonly content: string | null | undefined; readonly reference: string | null | undefined } | null | undefined,
): string {
  return post?.content || post?.reference || "(no text)";
}

/** "@brand (Instagram)", for places without markup. */
export function plainAccountLabel(name: string | null | undefined, platform: string): string {
  return `${plainText(accountLabel(name))} (${platformName(platform)})`;
}

/** Names of accounts by their numbers. */
export type AccountNames = ReadonlyMap<number, string>;

interface NamedAccount {
  readonly accountId: number;
  readonly accountName: string;
  readonly platform: string;
}

export function accountNames(accounts: readonly NamedAccount[]): AccountNames {
  return new Map(
    accounts.map(({ accountId, accountName, platform }) => [
      accountId,
      plainAccountLabel(accountName, platform),
    ]),
  );
}

/** The name of an account, or words in its place if it was removed. */
export function accountLabel(name: string | null | undefined): string {
  return name ?? "(removed account)";
}
