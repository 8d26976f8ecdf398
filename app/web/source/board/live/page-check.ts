// Requests the page again after a reconnection, because meanwhile the server may have got another build of it, and
// this computer another clock.

import { useEffect } from "react";

import { showNotice } from "../components/notices";
import { BOARD_PATH } from "../config";
import { correctServerTime } from "../text/clock";
import { onReconnection, recordContact } from "./connection";

const SCRIPT_NAME = new URL(import.meta.url).pathname.split("/").at(-1)!;

/** Corrects the clock after a reconnection, and asks the user to reload the page if its scripts are others. */
export function usePageCheck(): void {
  useEffect(() => onReconnection(() => void checkPage()), []);
}

async function checkPage(): Promise<void> {
  const response = await fetch(BOARD_PATH).catch(() => null);
  if (!response?.ok) return;
  correctServerTime(response.headers.get("Date") ?? "");
  recordContact();
  const html = await response.text();
  if (!html.includes(SCRIPT_NAME)) showNewVersionNotice();
}

export function showNewVersionNotice(): void {
  showNotice("A newer version of this page is available. Reload it.");
}
