// Tables as text for spreadsheets.

/** The value of a cell; null for an empty one. */
export type Cell = string | number | null;

/** Characters at the beginning of a cell after which a spreadsheet may run the text as a formula. */
const FORMULA_START = /^[=+\-@\t\r\n＝＋－＠]/;

/** Formats rows as RFC 4180, as the exports of the server are. */
export function formatCsv(rows: readonly (readonly Cell[])[]): string {
  return rows.map((row) => `${row.map(formatCell).join(",")}\r\n`).join("");
}

function formatCell(cell: Cell): string {
  if (typeof cell !== "string") return cell === null ? "" : String(cell);
  const text = FORMULA_START.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
