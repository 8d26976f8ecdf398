// Filters and order of the accounts ↔ search parameters. Values that make no sense are ignored.

import { formatParameters, member, readList, readText, unlessDefault } from "./parameters";

/** Whether posts that are due now would be published. */
export const CAN_POST_VALUES = ["yes", "no"] as const;
export const ACCOUNT_ORDERS = ["ACCOUNT_ID", "CONNECTED_AT", "CREATED_AT"] as const;
export const ACCOUNT_DIRECTIONS = ["ASC", "DESC"] as const;

export interface AccountsView {
  /** Null for all accounts. */
  readonly canPost: (typeof CAN_POST_VALUES)[number] | null;
  readonly platform: readonly string[];
  /** Part of a name of the account. */
  readonly q: string;
  readonly order: (typeof ACCOUNT_ORDERS)[number];
  readonly direction: (typeof ACCOUNT_DIRECTIONS)[number];
  /** Position after which the page begins; "" for the first page. */
  readonly after: string;
}

export const ALL_ACCOUNTS: AccountsView = {
  canPost: null,
  platform: [],
  q: "",
  order: "ACCOUNT_ID",
  direction: "ASC",
  after: "",
};

export function parseAccounts(search: string): AccountsView {
  const parameters = new URLSearchParams(search);
  return {
    canPost: member(CAN_POST_VALUES, readText(parameters, "canPost")) ?? null,
    platform: readList(parameters, "platform"),
    q: readText(parameters, "q"),
    order: member(ACCOUNT_ORDERS, readText(parameters, "order")) ?? ALL_ACCOUNTS.order,
    direction: member(ACCOUNT_DIRECTIONS, readText(parameters, "direction")) ?? ALL_ACCOUNTS.direction,
    after: readText(parameters, "after"),
  };
}

/** Link to the accounts of a view, below the board. */
export function accountsPath(view: AccountsView): string {
  const { canPost, q, order, direction, after, platform } = view;
  return `/accounts${formatParameters({
    canPost,
    q,
    order: unlessDefault(order, ALL_ACCOUNTS.order),
    direction: unlessDefault(direction, ALL_ACCOUNTS.direction),
    after,
    platform,
  })}`;
}
