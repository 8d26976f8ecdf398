// Text from outside: characters that could mislead the reader are made visible.

const PICTURES_OF_CONTROLS = 0x2400;
const DELETE_PICTURE = "\u2421";

/** Marks in a row beyond these, more than any language has, would be drawn over the lines around the text. */
const MARKS_TO_OMIT = /(?<=\p{M}{8})\p{M}+/gu;

/**
 * Shows control characters, except line breaks and tabs, as pictures, and lone surrogates as U+FFFD. Leaves out
 * floods of combining marks.
 */
export function visibleText(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (character) =>
      String.fromCharCode(PICTURES_OF_CONTROLS + character.charCodeAt(0)),
    )
    .replaceAll("\u007f", DELETE_PICTURE)
    .replace(MARKS_TO_OMIT, "");
}

/** The visible text without characters that change the direction of what follows, where markup cannot isolate it. */
export function plainText(text: string): string {
  return visibleText(text).replace(/[\u202a-\u202e\u2066-\u2069]/g, "");
}

/** The text, or its first characters with an ellipsis. */
export function truncated(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const start = text.slice(0, limit).replace(/[\ud800-\udbff]$/, ""); // half of a character
  return `${start.trimEnd()}…`;
}

/** URL of a page on a platform; null unless it is http or https. */
export function webUrl(text: string | null | undefined): URL | null {
  const url = URL.canParse(text ?? "") ? new URL(text!) : null;
  return url && ["http:", "https:"].includes(url.protocol) ? url : null;
}
