// What the palette offers for a text.

import { platformName } from "../../text/reasons";
import { accountNumber, pastedUrls, pastedUuid } from "../../url/parameters";
import { accountPath } from "../../url/paths";
import { resultsPath } from "../../url/results";
import type { FoundAccount } from "./palette-accounts";
import type { PostKey } from "./palette-post";

export interface Entry {
  readonly id: string;
  readonly name: string;
  readonly hint?: string;
  readonly run: () => void;
}

/** Number of accounts that are offered. */
const MAX_ACCOUNTS = 8;

interface Options {
  /** Without space at its ends. */
  readonly text: string;
  readonly pages: readonly { readonly path: string; readonly name: string }[];
  /** Accounts whose names have the text. */
  readonly accounts: readonly FoundAccount[];
  readonly commands: readonly { readonly name: string; readonly run: () => void }[];
  /** Opens a page of the board. */
  readonly go: (path: string) => void;
  readonly openPost: (key: PostKey) => void;
}

/** The first entry is the one that Enter runs, so that accounts, which arrive later, are last. */
export function paletteEntries({ text, pages, accounts, commands, go, openPost }: Options): Entry[] {
  const id = pastedUuid(text);
  if (id) return [{ id: "post", name: `Post or result ${id}`, run: () => openPost({ id }) }];
  const urls = pastedUrls(text);
  if (urls) return [{ id: "post", name: `Post that was published as ${urls[0]}`, run: () => openPost({ urls }) }];
  const link = (name: string, path: string, hint?: string): Entry => ({
    id: path,
    name,
    ...(hint && { hint }),
    run: () => go(path),
  });
  const number = accountNumber(text);
  return [
    ...(number === null ? [] : [link(`Account ${number}`, accountPath(number))]),
    ...pages.filter(({ name }) => contains(name, text)).map(({ name, path }) => link(name, path, "page")),
    ...commands.filter(({ name }) => contains(name, text)).map((command) => ({ id: command.name, ...command })),
    ...(text === ""
      ? []
      : [
          link(`Posts with the text “${text}”`, resultsPath({ q: text })),
          link(`Posts with the reference “${text}”`, resultsPath({ reference: text })),
        ]),
    ...bestMatches(accounts, text)
      .filter(({ accountId }) => accountId !== number)
      .map((account) => link(account.accountName, accountPath(account.accountId), platformName(account.platform))),
  ];
}

/** The first accounts, those whose names start with the text before the others. */
export function bestMatches<Account extends { readonly accountName: string }>(
  accounts: readonly Account[],
  text: string,
): Account[] {
  const plain = (name: string) => name.toLowerCase().replace(/^@/, "");
  const rank = ({ accountName }: Account) => (plain(accountName).startsWith(plain(text)) ? 0 : 1);
  return accounts.toSorted((a, b) => rank(a) - rank(b)).slice(0, MAX_ACCOUNTS);
}

function contains(name: string, text: string): boolean {
  return name.toLowerCase().includes(text.toLowerCase());
}
