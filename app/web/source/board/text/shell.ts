// Text for a command line, which means the same to a shell, a terminal and a reader.

/** Characters that a terminal obeys or that readers do not see: controls, and marks of direction. */
const INVISIBLE = /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** JSON of the value, in which invisible characters are escaped. */
export function escapedJson(value: unknown, indent = 0): string {
  return JSON.stringify(value, null, indent).replace(
    INVISIBLE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The text as one word of a POSIX shell. */
export function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Command that sends a request to the API, with the key from the variable API_KEY; POST if it has a body. */
export function apiCommand(url: string, body?: unknown): string {
  const lines = [`curl ${shellQuoted(url)}`, '  -H "Authorization: Bearer $API_KEY"'];
  if (body !== undefined) {
    lines.push("  -H 'Content-Type: application/json'", `  -d ${shellQuoted(escapedJson(body))}`);
  }
  return lines.join(" \\\n");
}
