// The time zone of all times on the page.

import { ValueStore, useStore } from "../store";
import { isZone } from "./times";

const STORAGE_KEY = "post-results-board-zone";

const deviceZone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Zone of the browser; UTC for one without times, such as "Etc/Unknown". */
export const DEVICE_ZONE = isZone(deviceZone) ? deviceZone : "UTC";

const stored = localStorage.getItem(STORAGE_KEY);

const zone = new ValueStore(stored && isZone(stored) ? stored : DEVICE_ZONE);

export function useZone(): string {
  return useStore(zone);
}

export function chooseZone(name: string): void {
  localStorage.setItem(STORAGE_KEY, name);
  zone.set(name);
}
