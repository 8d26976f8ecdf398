// Queries whose fragments catch the errors of their own fields, so that a part of the data may be missing.

import { ServerError } from "./server-error";

/** Configuration of the requests of such a query; without it, the first error stands for all data. */
export const PARTIAL_DATA = { metadata: { acceptsPartialData: true } } as const;

/** Error of the server that a fragment with `@catch` has caught. */
export function caughtError(errors: readonly unknown[]): ServerError {
  const [first] = errors as readonly { readonly serverError?: ServerError }[];
  return first?.serverError ?? new ServerError("A part of the data is missing.", "PAGE_ERROR", null);
}
