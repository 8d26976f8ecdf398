// Filter by platform and account ↔ search parameters.

import { accountNumber, readList } from "./parameters";

export interface AccountFilter {
  readonly platform: readonly string[];
  readonly account: readonly number[];
}

export function readAccountFilter(parameters: URLSearchParams): AccountFilter {
  const numbers = readList(parameters, "account").map(accountNumber);
  return {
    platform: readList(parameters, "platform"),
    account: numbers.filter((number) => number !== null),
  };
}

/** The filter in the form of the API. */
export function accountCriteria({ platform, account }: AccountFilter): {
  platform?: string[];
  accountId?: number[];
} {
  return {
    ...(platform.length > 0 && { platform: [...platform] }),
    ...(account.length > 0 && { accountId: [...account] }),
  };
}
