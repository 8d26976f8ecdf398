// A button that saves a table of the page as a file.

import { formatCsv, type Cell } from "../text/csv";

interface Props {
  /** Name of the file, without its ending. */
  readonly name: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

export function CsvButton({ name, columns, rows }: Props) {
  function save(): void {
    const url = URL.createObjectURL(new Blob([formatCsv([columns, ...rows])], { type: "text/csv" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = `${name}.csv`;
    link.click();
    URL.revokeObjectURL(url);
  }
  return (
    <button type="button" onClick={save}>
      Download CSV
    </button>
  );
}
