// Reads and writes search parameters, and filters of the API. Values that make no sense are ignored.

const MAX_LIST_LENGTH = 100;
const MAX_TEXT_LENGTH = 200;
/** Highest number of an account that the API accepts. */
const MAX_ACCOUNT = 2 ** 31 - 1;
/** Length up to which the API finds the address of a publication. */
const MAX_FOUND_URL_LENGTH = 500;
/** Years that the API accepts. */
const [MIN_YEAR, MAX_YEAR] = [1900, 9998];

/** Different values of a parameter that is repeated or has commas. */
export function readList(parameters: URLSearchParams, name: string): string[] {
  const values = parameters
    .getAll(name)
    .flatMap((value) => value.split(","))
    .map(cleaned);
  return [...new Set(values)]
    .filter((value) => value !== "" && value.length <= MAX_TEXT_LENGTH)
    .slice(0, MAX_LIST_LENGTH);
}

export function readText(parameters: URLSearchParams, name: string): string {
  return cleaned(parameters.get(name) ?? "").slice(0, MAX_TEXT_LENGTH);
}

/** A UUID in its usual form; null if the parameter is none. */
export function readUuid(parameters: URLSearchParams, name: string): string | null {
  const id = readText(parameters, name).toLowerCase();
  return isUuid(id) ? id : null;
}

/** The instants `from` and `to`, the earlier one first. */
export function readPeriod(parameters: URLSearchParams): { from: Date | null; to: Date | null } {
  const from = parseInstant(readText(parameters, "from"));
  const to = parseInstant(readText(parameters, "to"));
  return from && to && from > to ? { from: to, to: from } : { from, to };
}

function parseInstant(text: string): Date | null {
  const instant = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(text) ? new Date(text) : new Date(NaN);
  const year = instant.getUTCFullYear();
  return year >= MIN_YEAR && year <= MAX_YEAR ? instant : null;
}

/** The API refuses the character NUL. */
function cleaned(text: string): string {
  return text.replaceAll("\0", "").trim();
}

export function member<T extends string>(values: readonly T[], text: string): T | undefined {
  return values.find((value) => value === text);
}

export function members<T extends string>(values: readonly T[], texts: readonly string[]): T[] {
  return values.filter((value) => texts.includes(value));
}

/** Number of an account; null if the text cannot be one. */
export function accountNumber(text: string): number | null {
  const number = /^[1-9]\d*$/.test(text) ? Number(text) : NaN;
  return number <= MAX_ACCOUNT ? number : null;
}

export function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}

/** The UUID that a pasted text consists of, apart from spaces, quotes and brackets, or that of the board's page of a post. */
export function pastedUuid(text: string): string | null {
  const page = /\/board\/posts\/([0-9a-f-]{36})\b/i.exec(text);
  const id = (page?.[1] ?? text).replace(/[\s"'`“”„‘’«»()[\]{}<>,;]/g, "").toLowerCase();
  return isUuid(id) ? id : null;
}

/**
 * The web address that a pasted text consists of, apart from quotes and brackets around it, and other forms
 * under which the same publication may be stored. Null if it is none.
 */
export function pastedUrls(text: string): string[] | null {
  const url = text.replace(/^[\s"'“„‘«(<[]+|[\s"'”“’»)>\],;]+$/g, "");
  if (/\s/.test(url) || !/^https?:\/\/./i.test(url) || !URL.canParse(url)) return null;
  const forms = pathForms(url).flatMap(originForms);
  return [...new Set([url, ...forms.filter((form) => form.length <= MAX_FOUND_URL_LENGTH)])];
}

/** The address, and the same without what links are extended by, with and without a slash at the end. */
function pathForms(url: string): string[] {
  const untracked = url.replace(/#.*$/, "").replace(/(?<=[?&])utm_[^&]*&?/g, "").replace(/[?&]$/, "");
  const path = url.replace(/[?#].*$/, "").replace(/\/+$/, "");
  return [url, untracked, `${path}/`, path].flatMap((form) => [form, decoded(form)]);
}

/** The address with its own origin first, then with the other scheme, and with and without "www.". */
function originForms(url: string): string[] {
  const host = url.replace(/^https?:\/\/(?:www\.)?/i, "").replace(/^[^/?#]*/, (name) => name.toLowerCase());
  return [url, ...["https://", "https://www.", "http://", "http://www."].map((start) => start + host)];
}

/** Browsers copy letters of other alphabets percent-encoded. */
function decoded(url: string): string {
  try {
    return decodeURI(url);
  } catch {
    return url;
  }
}

/** Null for the default, which a URL does not contain. */
export function unlessDefault<T>(value: T, defaultValue: T): T | null {
  return value === defaultValue ? null : value;
}

/** A filter of the API without criteria that are absent or empty; an empty list would match nothing. */
export function withoutEmpty<T extends object>(filter: T): Partial<T> {
  const entries = Object.entries(filter).filter(([, value]) => value != null && value.length !== 0);
  return Object.fromEntries(entries) as Partial<T>;
}

/** Search parameters of the values that are neither null nor empty: "", or a text that starts with "?". */
export function formatParameters(
  values: Readonly<Record<string, string | null | readonly (string | number)[]>>,
): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    const text = typeof value === "string" ? value : (value ?? []).join(",");
    if (text !== "") parameters.set(name, text);
  }
  const search = parameters.toString();
  return search && `?${search}`;
}
