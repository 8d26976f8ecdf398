// All accounts: whether they can post, and what is waiting or has failed on them.

import { useState } from "react";
import { useLocation } from "wouter";
import { useSearch } from "wouter/use-browser-location";

import { ActionButton } from "../../components/action-button";
import { PlatformFilter } from "../../components/account-filters";
import { rememberList } from "../../components/back-link";
import { Choice, ChoiceFilter, TextFilter } from "../../components/fields";
import { Page } from "../../components/page";
import { LaterPage } from "../../components/pager";
import { Panel } from "../../components/panel";
import { credentialsDeniedReason, useViewer } from "../../session/viewer";
import { DIRECTION_WORDS, filterPhrase } from "../../text/filter-words";
import { platformName } from "../../text/reasons";
import {
  CAN_POST_VALUES,
  ACCOUNT_DIRECTIONS,
  ACCOUNT_ORDERS,
  accountsPath,
  parseAccounts,
  type AccountsView,
} from "../../url/accounts";
import { AccountList } from "./account-list";
import { ConnectDialog } from "./connect-dialog";

const CAN_POST_WORDS = { yes: "Can post", no: "Cannot post" };
const ORDER_WORDS = { ACCOUNT_ID: "Number", CONNECTED_AT: "Last connected", CREATED_AT: "First connected" };

export default function AccountsPage() {
  const search = useSearch();
  const [, navigate] = useLocation();
  const view = parseAccounts(search);
  const disabledReason = credentialsDeniedReason(useViewer());
  const [isConnecting, setConnecting] = useState(false);
  rememberList("/accounts", accountsPath(view));
  const connectButton = (
    <ActionButton disabledReason={disabledReason} onPress={() => setConnecting(true)}>
      Connect an account…
    </ActionButton>
  );
  return (
    <Page title="Accounts" filterWords={filterWordsOf(view)} actions={connectButton}>
      <Filters
        view={view}
        onChange={(changes) => navigate(accountsPath({ ...view, after: "", ...changes }))}
      />
      <Panel key={search} lines={16}>
        {(fetchKey) => <AccountList view={view} fetchKey={fetchKey} />}
      </Panel>
      {isConnecting && <ConnectDialog account={null} onClose={() => setConnecting(false)} />}
      {view.after && <LaterPage firstPath={accountsPath({ ...view, after: "" })} />}
    </Page>
  );
}

function filterWordsOf({ q, canPost, platform }: AccountsView): string[] {
  return [
    ...filterPhrase("Name", q ? [`“${q}”`] : []),
    ...filterPhrase("Access", canPost ? [CAN_POST_WORDS[canPost]] : []),
    ...filterPhrase("Platform", platform.map(platformName)),
  ];
}

interface FiltersProps {
  readonly view: AccountsView;
  readonly onChange: (changes: Partial<AccountsView>) => void;
}

function Filters({ view, onChange }: FiltersProps) {
  return (
    <search className="filters">
      <TextFilter label="Name" value={view.q} onChange={(q) => onChange({ q })} />
      <ChoiceFilter
        label="Access"
        values={view.canPost ? [view.canPost] : []}
        options={CAN_POST_VALUES}
        name={(value) => CAN_POST_WORDS[value]}
        onChange={([canPost]) => onChange({ canPost: canPost ?? null })}
      />
      <PlatformFilter values={view.platform} onChange={(platform) => onChange({ platform })} />
      <Choice
        label="Order by"
        value={view.order}
        options={ACCOUNT_ORDERS}
        name={(order) => ORDER_WORDS[order]}
        onChange={(order) => onChange({ order })}
      />
      <Choice
        label="Direction"
        value={view.direction}
        options={ACCOUNT_DIRECTIONS}
        name={(direction) => DIRECTION_WORDS[direction]}
        onChange={(direction) => onChange({ direction })}
      />
    </search>
  );
}
