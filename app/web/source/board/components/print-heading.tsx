// What a printed page says below its title: its filters, the workspace, and the time and zone of what it shows.

import { connection } from "../live/connection";
import { isPrinting } from "../print";
import { useViewer } from "../session/viewer";
import { useStore } from "../store";
import { serverNow } from "../text/clock";
import { fullTime } from "../text/times";
import { useZone } from "../text/zone";
import { UserText } from "./user-text";

export function PrintHeading({ filterWords }: { readonly filterWords: readonly string[] }) {
  const printing = useStore(isPrinting);
  const zone = useZone();
  const { workspaceName } = useViewer();
  if (!printing) return null;
  return (
    <ul className="print-heading">
      {filterWords.map((phrase) => (
        <li key={phrase}>
          <UserText text={phrase} />
        </li>
      ))}
      <li>
        <UserText text={workspaceName} />, as of {fullTime(connection.value.asOf ?? serverNow(), zone)}
      </li>
    </ul>
  );
}
