// Keyboard shortcuts; none works below a dialog. Those of single keys do nothing while the user types or a menu is
// open, and the user can turn them off.

import { useEffectEvent, useLayoutEffect } from "react";

import { ValueStore } from "../store";

const STORAGE_KEY = "post-results-board-shortcuts";
/** Key that begins a sequence of two keys. */
const PREFIX = "g";
/** Time within which the second key of a sequence must follow. */
const SEQUENCE_MS = 1_000;
/** Keys that act again while they are held: they only move. */
const REPEATABLE = ["j", "k", "J", "K"];

/** True unless the user has turned the shortcuts of single keys off. */
export const areShortcutsOn = new ValueStore(localStorage.getItem(STORAGE_KEY) !== "off");

export function turnShortcuts(state: "on" | "off"): void {
  localStorage.setItem(STORAGE_KEY, state);
  areShortcutsOn.set(state === "on");
}

/** Actions by key, such as `j`, `Enter`, the sequence `g t`, or `Mod+k` for ⌘K and Ctrl+K. */
type Shortcuts = Readonly<Record<string, () => void>>;

const lookups = new Set<(keys: string) => (() => void) | undefined>();
let prefixAt = -Infinity;

/** Runs the action of a pressed key, anywhere on the page; the component that was added last takes precedence. */
export function useShortcuts(shortcuts: Shortcuts): void {
  const lookup = useEffectEvent((keys: string) => shortcuts[keys]);
  // A layout effect, so that the keys work as soon as the component is visible.
  useLayoutEffect(() => {
    const find = (keys: string) => lookup(keys);
    lookups.add(find);
    return () => void lookups.delete(find);
  }, []);
}

/** True for the keys of browsers and systems, such as Alt+← for the previous page. */
export function hasModifier({ altKey, ctrlKey, metaKey }: Modifiers): boolean {
  return altKey || ctrlKey || metaKey;
}

type Modifiers = Pick<KeyboardEvent, "altKey" | "ctrlKey" | "metaKey">;

window.addEventListener("keydown", (event) => {
  const keys = pressedKeys(event);
  if (keys === null) return;
  const action = [...lookups]
    .reverse()
    .map((find) => find(keys))
    .find(Boolean);
  if (!action) return;
  event.preventDefault();
  action();
});

/** The keys as `Shortcuts` names them; null if they are none. */
function pressedKeys(event: KeyboardEvent): string | null {
  if (event.altKey || document.querySelector("dialog[open]")) return null;
  if (event.ctrlKey || event.metaKey) return event.shiftKey ? null : `Mod+${event.key.toLowerCase()}`;
  if (!areShortcutsOn.value || isTyping(event.target)) return null;
  if (event.repeat && !REPEATABLE.includes(event.key)) return null;
  const isSecond = event.timeStamp - prefixAt < SEQUENCE_MS;
  prefixAt = event.key === PREFIX && !isSecond ? event.timeStamp : -Infinity;
  return isSecond ? `${PREFIX} ${event.key}` : event.key;
}

function isTyping(target: EventTarget | null): boolean {
  if (document.querySelector(":popover-open")) return true;
  return target instanceof HTMLElement && target.matches("input:not([type=checkbox]), select, textarea");
}
