// The version of a post that a user has seen and changes; the server refuses to change a later one.

import { useState } from "react";
import { useRelayEnvironment } from "react-relay/hooks";

import { readObjects } from "./objects";
import { ServerError, STALE_VERSION } from "./server-error";

interface VersionedPost {
  readonly id: string;
  readonly version: number;
}

export function isStaleVersion(error: Error | null): boolean {
  return error instanceof ServerError && error.code === STALE_VERSION;
}

/**
 * The version to send, which stays that of the first render, and a function to call after each error. It reads
 * a stale post again, whose version is then sent: the user has been asked to check what has changed.
 */
export function useExpectedVersion(
  post: VersionedPost | null | undefined,
): [version: number, handleError: (error: Error) => void] {
  const environment = useRelayEnvironment();
  const [seen, setSeen] = useState(post?.version);
  function handleError(error: Error): void {
    if (!post || !isStaleVersion(error)) return;
    setSeen(undefined);
    void readObjects(environment, [post.id]).catch(() => undefined); // the next press is refused again
  }
  return [seen ?? post?.version ?? 0, handleError];
}
