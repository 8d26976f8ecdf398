// The name of an account, as a link to its page.

import { Link } from "wouter";

import { accountLabel } from "../text/labels";
import { platformName } from "../text/reasons";
import { accountPath } from "../url/paths";
import { UserText } from "./user-text";

interface Props {
  readonly accountId: number;
  /** Null if the account was removed. */
  readonly name: string | null | undefined;
  readonly platform: string;
}

/** The name and the platform of an account; the name of one that exists is a link. */
export function AccountLink({ accountId, name, platform }: Props) {
  const text = <UserText text={accountLabel(name)} />;
  return (
    <>
      {name == null ? text : <Link href={accountPath(accountId)}>{text}</Link>}{" "}
      <span className="muted">
        <UserText text={platformName(platform)} />
      </span>
    </>
  );
}
