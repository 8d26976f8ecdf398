// Filter by platform and account ↔ search parameters.

import { accountNumber, readList, withoutEmpty } from "./parameters";

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
export function accountCriteria({ platform, account }: AccountFilter) {
  return withoutEmpty({ platform, accountId: account });
}
