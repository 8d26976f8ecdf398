// Sign-out by the user.

import { showNotice } from "../components/notices";
import { BOARD_PATH } from "../config";
import { ServerError } from "../relay/server-error";
import { signOut } from "./session-store";

/** Ends the session, and loads the sign-in page so that nothing of the workspace stays in memory. */
export async function leave(sessions: "this" | "all"): Promise<void> {
  try {
    await signOut(sessions);
    location.assign(`${BOARD_PATH}/sign-in`);
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    showNotice(`You are still signed in. ${error.message}`);
  }
}
