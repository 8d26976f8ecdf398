// Sends documents by their ids over HTTP.

import type { GraphQLResponse, RequestParameters, Variables } from "relay-runtime";

import { ROOT_PATH } from "../config";
import { checkSession } from "../session/session-store";
import { delayAutomaticRequests } from "./rate-limit";
import {
  errorOfResponse,
  errorOfStatus,
  INVALID_API_KEY,
  sendRequest,
  type ErrorBody,
  type ServerError,
} from "./server-error";

interface Body {
  readonly data?: unknown;
  readonly errors?: readonly ErrorBody[];
}

interface Options {
  /** True if fragments catch the errors of their fields; else the first error stands for all data. */
  readonly acceptsPartialData?: boolean;
}

/** Raises ServerError. */
export async function fetchDocument(
  { id }: RequestParameters,
  variables: Variables,
  { acceptsPartialData = false }: Options = {},
): Promise<GraphQLResponse> {
  const response = await sendRequest(`${ROOT_PATH}/graphql`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ documentId: id, variables }),
  });
  const body = await parse(response);
  const errors = (body?.errors ?? []).map((error) => ({
    ...error,
    serverError: recordError(errorOfResponse({ message: error.message, ...error.extensions }, response)),
  }));
  const isPartial = acceptsPartialData && body?.data != null;
  if (errors[0] && !isPartial) throw errors[0].serverError;
  if (!response.ok) throw recordError(errorOfStatus(response));
  return { ...body, errors } as GraphQLResponse;
}

/** The error, after what it says about later requests is recorded. */
function recordError(error: ServerError): ServerError {
  if (error.code === INVALID_API_KEY) checkSession();
  if (error.retryAfterSeconds !== null) delayAutomaticRequests(error.retryAfterSeconds);
  return error;
}

async function parse(response: Response): Promise<Body | null> {
  try {
    return (await response.json()) as Body | null;
  } catch {
    throw recordError(errorOfStatus(response));
  }
}
