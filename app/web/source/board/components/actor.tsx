// Who made a change, in words; nothing for a change of the server itself.

import { actorName, type ActorFields } from "../text/actors";
import { UserText } from "./user-text";

export function Actor({ actor }: { readonly actor: ActorFields | null | undefined }) {
  if (!actor) return null;
  return (
    <span className="muted">
      by <UserText text={actorName(actor)} />
    </span>
  );
}
