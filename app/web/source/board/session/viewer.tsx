// Who is signed in: the workspace, the scopes, and what they do not allow.

import { createContext, useContext } from "react";
import { fetchQuery, graphql, type Environment } from "relay-runtime";

import type { viewerQuery } from "../relay/__generated__/viewerQuery.graphql";
import { INSUFFICIENT_SCOPE, ServerError } from "../relay/server-error";

export interface Viewer {
  readonly workspaceId: string;
  readonly workspaceName: string;
  readonly isMirror: boolean;
  readonly scopes: readonly string[];
  readonly person: string | null;
  /** True if a proxy in front of the server signs the person in and out. */
  readonly isSignedInByProxy: boolean;
  readonly keyName: string;
  readonly serverVersion: string;
  readonly serverNow: string;
  readonly changesRetentionSeconds: number;
  /** Cursor after the latest change, read before any other data; null without the scope READ. */
  readonly latestCursor: string | null;
}

const query = graphql`
  query viewerQuery($reads: Boolean!) {
    viewer {
      scopes
      session {
        person
        expiresAt
      }
      server {
        version
        now
        changesRetentionSeconds
      }
      workspace {
        workspaceId
        name
        kind
      }
      apiKey {
        name
      }
    }
    changes(first: 1) @include(if: $reads) {
      latestCursor
    }
  }
`;

/** Reads the viewer; raises ServerError, also without a session. */
export async function loadViewer(environment: Environment): Promise<Viewer> {
  const data = await readViewer(environment, true).catch((error: unknown) => {
    if (error instanceof ServerError && error.code === INSUFFICIENT_SCOPE)
      return readViewer(environment, false);
    throw error;
  });
  const { viewer, changes } = data!;
  return {
    workspaceId: viewer.workspace.workspaceId,
    workspaceName: viewer.workspace.name,
    isMirror: viewer.workspace.kind === "MIRROR",
    scopes: viewer.scopes,
    person: viewer.session?.person ?? null,
    isSignedInByProxy: viewer.session?.expiresAt === null,
    keyName: viewer.apiKey.name,
    serverVersion: viewer.server.version,
    serverNow: viewer.server.now,
    changesRetentionSeconds: viewer.server.changesRetentionSeconds,
    latestCursor: changes?.latestCursor ?? null,
  };
}

function readViewer(environment: Environment, reads: boolean) {
  return fetchQuery<viewerQuery>(environment, query, { reads }, { fetchPolicy: "network-only" }).toPromise();
}

export const ViewerContext = createContext<Viewer | null>(null);

export function useViewer(): Viewer {
  return useContext(ViewerContext)!;
}

const MIRROR_REASON = "This workspace mirrors another service. Make the change there.";

/** Reason why this session may not change anything; null if it may. */
export function writeDeniedReason({ scopes, isMirror }: Viewer): string | null {
  if (isMirror) return MIRROR_REASON;
  return scopes.includes("WRITE") ? null : "This sign-in may only read.";
}

/** Whether this session may end others of its key; one that may only read ends only itself. */
export function mayEndOtherSessions({ scopes }: Viewer): boolean {
  return scopes.some((scope) => scope !== "READ" && scope !== "RAW");
}

/** Reason why this session may not connect accounts with credentials; null if it may. */
export function credentialsDeniedReason(viewer: Viewer): string | null {
  const reason = writeDeniedReason(viewer);
  if (reason !== null || viewer.scopes.includes("CREDENTIALS")) return reason;
  return "This needs a sign-in with “Read, act and publish”, and a key with the scope credentials.";
}

/** Reason why this session may not change webhooks; null if it may. They can be read with the scope ADMIN only. */
export function adminDeniedReason({ scopes, isMirror }: Viewer): string | null {
  if (!scopes.includes("ADMIN")) {
    return scopes.includes("WRITE") ? "This key may not manage webhooks." : "This sign-in may only read.";
  }
  return isMirror ? MIRROR_REASON : null;
}
