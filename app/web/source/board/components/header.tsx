// The header: workspace, connection, time zone and menu.

import { DEMO_KEY } from "../config";
import { connection, isPaused } from "../live/connection";
import { useViewer, writeDeniedReason } from "../session/viewer";
import { useStore } from "../store";
import { clockTime } from "../text/times";
import { useZone } from "../text/zone";
import type { NavigationItem } from "./layout";
import { Menu } from "./menu";
import { UserText } from "./user-text";

export function Header({ items }: { readonly items: readonly NavigationItem[] }) {
  const viewer = useViewer();
  const zone = useZone();
  const readOnlyReason = writeDeniedReason(viewer);
  return (
    <header className="header">
      <strong className="workspace">
        <UserText text={viewer.workspaceName} />
      </strong>
      {DEMO_KEY && <span className="mark">demo</span>}
      {readOnlyReason && (
        <span className="mark" title={readOnlyReason}>
          {viewer.isMirror ? "mirror" : "read only"}
        </span>
      )}
      <ConnectionState zone={zone} />
      <span className="zone muted" title="Time zone of all times on this page; change it in the menu">
        {zone}
      </span>
      <Menu items={items} />
    </header>
  );
}

const WORDS = { connecting: "Connecting…", live: "Live", reconnecting: "Reconnecting…" };

function ConnectionState({ zone }: { readonly zone: string }) {
  const { status, asOf } = useStore(connection);
  const paused = useStore(isPaused);
  return (
    <span className={`connection ${paused && status === "live" ? "paused" : status}`}>
      {paused ? "Paused" : WORDS[status]}
      {asOf && <span className="muted"> as of {clockTime(asOf, zone)}</span>}
      {paused && status !== "live" && ` · ${WORDS[status].toLowerCase()}`}
    </span>
  );
}
