// The platforms and accounts whose events a webhook receives.

import { useState } from "react";

import { useFirstAccounts } from "../../components/account-filters";
import { useAccountSearch } from "../../components/palette/palette-accounts";
import { accountNames } from "../../text/labels";
import { platformName } from "../../text/reasons";
import { plainText } from "../../text/characters";
import type { WebhookSettings } from "../../text/webhooks";
import { CheckList } from "./check-list";

/** Number of accounts above which there is a field to find one. */
const SEARCHED_FROM = 10;

interface Props {
  readonly settings: WebhookSettings;
  readonly fetchKey: number;
  readonly onChange: (changes: Partial<WebhookSettings>) => void;
}

export function ReceiverFilters({ settings: { platforms, accountIds }, fetchKey, onChange }: Props) {
  const { nodes: first } = useFirstAccounts(fetchKey);
  const [text, setText] = useState("");
  const { accounts: found, problem } = useAccountSearch(text.trim());
  const names = accountNames([...first, ...found]);
  const offered = (text.trim() === "" ? first : found).map(({ accountId }) => accountId);
  const known = first.map(({ platform }) => platform);
  if (first.length + platforms.length + accountIds.length === 0) return <p>No account is connected yet.</p>;
  return (
    <>
      <p className="muted">With no choice, it receives the events of all.</p>
      <CheckList
        legend="Platforms"
        values={platforms}
        options={[...new Set([...known, ...platforms])].sort()}
        name={(platform) => plainText(platformName(platform))}
        onChange={(chosen) => onChange({ platforms: chosen })}
      />
      {first.length > SEARCHED_FROM && (
        <label>
          Find an account by its name
          <input
            type="search"
            value={text}
            maxLength={200}
            onChange={(event) => setText(event.target.value)}
            onKeyDown={(event) => event.key === "Enter" && event.preventDefault()}
          />
        </label>
      )}
      {problem && <p className="problem">{problem}</p>}
      <div className="account-choices">
        <CheckList
          legend="Accounts"
          values={accountIds.map(String)}
          options={[...new Set([...accountIds, ...offered])].map(String)}
          name={(number) => names.get(Number(number)) ?? `Account ${number}`}
          onChange={(chosen) => onChange({ accountIds: chosen.map(Number) })}
        />
      </div>
    </>
  );
}
