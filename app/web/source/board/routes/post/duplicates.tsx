// Publications of a destination that were reported after the first one.

import { Time } from "../../components/time";
import { PlatformLink } from "./platform-link";
import { useDuplicates, type DestinationIds } from "./destination-changes";

interface Props {
  readonly ids: DestinationIds;
  readonly fetchKey: number;
}

export function Duplicates({ ids, fetchKey }: Props) {
  return useDuplicates(ids, fetchKey).map(({ cursor, publishedAt, platformPostUrl }) => (
    <p key={cursor}>
      Also reported as published <Time at={publishedAt} />
      <PlatformLink url={platformPostUrl} />
    </p>
  ));
}
