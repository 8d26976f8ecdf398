// Publications of a destination that were reported after the first one.

import { Time } from "../../components/time";
import { useDestinationChanges, type DestinationIds } from "./destination-changes";
import { PlatformLink } from "./platform-link";

interface Props {
  readonly ids: DestinationIds;
  readonly fetchKey: number;
}

const FILTER = { types: ["DESTINATION_DUPLICATED"] } as const;

export function Duplicates({ ids, fetchKey }: Props) {
  return useDestinationChanges(ids, FILTER, fetchKey).changes.map(({ cursor, values }) => {
    const publication = values as Record<string, string | null>;
    return (
      <p key={cursor}>
        Also reported as published <Time at={publication.published_at!} />
        <PlatformLink url={publication.platform_post_url} />
      </p>
    );
  });
}
