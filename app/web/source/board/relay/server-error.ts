// Requests to the server, and their errors with what the user needs to act on them or to report them.

/** Codes that the board itself reacts to. */
export const INVALID_API_KEY = "INVALID_API_KEY";
export const INSUFFICIENT_SCOPE = "INSUFFICIENT_SCOPE";
/** Codes of a cursor from which the changes cannot be continued. */
const LOST_CURSOR_CODES = ["RESYNC_REQUIRED", "BAD_CURSOR"];
/** Codes of a document that this version of the server does not have. */
export const UNKNOWN_DOCUMENT_CODES = ["DOCUMENT_NOT_TRUSTED", "VALIDATION_ERROR"];
export const CONFLICT = "CONFLICT";
export const STALE_VERSION = "STALE_VERSION";
/** Code of a request without a response. */
const UNREACHABLE = "UNREACHABLE";
/** Codes of failures of the server, with which the same request may succeed later. */
const TEMPORARY_CODES = [UNREACHABLE, "INTERNAL_ERROR", "SERVICE_UNAVAILABLE"];

export interface ErrorBody {
  readonly message: string;
  readonly extensions?: { readonly code?: string; readonly field?: string };
}

export class ServerError extends Error {
  constructor(
    message: string,
    readonly code: string,
    /** Id of the request in the server's log; null if there was no response. */
    readonly requestId: string | null,
    /** Seconds after which a repeated request may succeed; null if the server states none. */
    readonly retryAfterSeconds: number | null = null,
    /** Path of the argument with the invalid value, such as `input.url`; null for other errors. */
    readonly field: string | null = null,
  ) {
    super(message);
  }
}

/** True if the server has certainly not executed the request, which then needs no repetition. */
export function isRefusal(error: Error): boolean {
  return (
    error instanceof ServerError &&
    error.requestId !== null &&
    !error.code.startsWith("HTTP ") &&
    ![...TEMPORARY_CODES, "IDEMPOTENCY_IN_PROGRESS"].includes(error.code)
  );
}

/** True if the same request may succeed later, when the server or the way to it works again. */
export function isTemporary(error: Error): error is ServerError {
  return (
    error instanceof ServerError &&
    (TEMPORARY_CODES.includes(error.code) ||
      error.code.startsWith("HTTP 5") ||
      error.retryAfterSeconds !== null)
  );
}

export function isLostCursor(error: unknown): boolean {
  return error instanceof ServerError && LOST_CURSOR_CODES.includes(error.code);
}

/** Raises ServerError if there is no response. */
export async function sendRequest(url: string, options: RequestInit): Promise<Response> {
  try {
    return await fetch(url, options);
  } catch {
    const message = "The server cannot be reached. Check the connection, then try again.";
    throw new ServerError(message, UNREACHABLE, null);
  }
}

interface ResponseError {
  readonly message: string;
  readonly code?: string | undefined;
  readonly field?: string | undefined;
}

/** Error of a response, with the message and the code of its body. */
export function errorOfResponse(
  { message, code, field }: ResponseError,
  response: Response,
): ServerError {
  return new ServerError(
    message,
    code ?? "INTERNAL_ERROR",
    response.headers.get("X-Request-Id"),
    retryAfter(response),
    field ?? null,
  );
}

/** Error of a response whose body is not that of the API, such as one of a proxy. */
export function errorOfStatus(response: Response): ServerError {
  const message = `The server answered with the status ${response.status}. Try again in a moment.`;
  return errorOfResponse({ message, code: `HTTP ${response.status}` }, response);
}

/** Error with which a subscription ended; null if the connection broke. */
export function errorOfSubscription(end: unknown): ServerError | null {
  const [first] = Array.isArray(end) ? (end as ErrorBody[]) : [];
  return first
    ? new ServerError(first.message, first.extensions?.code ?? "INTERNAL_ERROR", null)
    : null;
}

function retryAfter(response: Response): number | null {
  const header = response.headers.get("Retry-After");
  return header === null || header === "" || !Number.isFinite(Number(header)) ? null : Number(header);
}
