// Publications of a destination that were reported after the first one.

import { Time } from "../../components/time";
import { PlatformLink } from "./platform-link";
import { useDuplicates } from "./post-changes";

interface Props {
  readonly postId: string;
  readonly destinationId: string;
  readonly fetchKey: number;
}

export function Duplicates({ postId, destinationId, fetchKey }: Props) {
  return useDuplicates(postId, destinationId, fetchKey).map(({ cursor, publishedAt, platformPostUrl }) => (
    <p key={cursor}>
      Also reported as published <Time at={publishedAt} />
      <PlatformLink url={platformPostUrl} />
    </p>
  ));
}
