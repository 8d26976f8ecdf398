// The menu of the header: palette, time zone, theme, updates, keyboard, sign-out.

import { useEffect, useRef, useState } from "react";

import { ROOT_PATH } from "../config";
import { areShortcutsOn, turnShortcuts, useShortcuts } from "../keyboard/shortcuts";
import { isPaused } from "../live/connection";
import { IDLE_LIMITS, storedIdleLimit, storeIdleLimit } from "../session/idle";
import { leave } from "../session/leave";
import { mayEndOtherSessions, useViewer } from "../session/viewer";
import { useStore } from "../store";
import { enumWords } from "../text/statuses";
import { chooseZone, DEVICE_ZONE, useZone } from "../text/zone";
import { storedTheme, storeTheme, THEMES } from "../theme";
import type { NavigationItem } from "./layout";
import { Dialog } from "./dialog";
import { Choice, type ChoiceProps } from "./fields";
import { openPalette } from "./palette/palette-host";
import { UserText } from "./user-text";

const MENU_ID = "menu";
const IDLE_WORDS = { never: "Never", "15": "After 15 minutes", "60": "After 1 hour" };

export function Menu({ items }: { readonly items: readonly NavigationItem[] }) {
  const [isOpen, setOpen] = useState(false);
  const [isAtKeys, setAtKeys] = useState(false);
  const [isLeaving, setLeaving] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  useShortcuts({
    "?": () => {
      setAtKeys(true);
      button.current?.focus(); // it has the focus again after Escape
      button.current?.click();
    },
  });

  function onToggle(isNowOpen: boolean): void {
    setOpen(isNowOpen);
    if (!isNowOpen) setAtKeys(false);
  }

  return (
    <>
      <button ref={button} type="button" popoverTarget={MENU_ID} aria-expanded={isOpen}>
        Menu
      </button>
      <section
        id={MENU_ID}
        className="menu"
        aria-label="Menu"
        popover="auto"
        onToggle={(event) => onToggle(event.newState === "open")}
      >
        {isOpen && (
          <MenuContent items={items} isAtKeys={isAtKeys} onLeaveEverywhere={() => setLeaving(true)} />
        )}
      </section>
      {isLeaving && <LeaveDialog onClose={() => setLeaving(false)} />}
    </>
  );
}

interface KeyListProps {
  readonly items: readonly NavigationItem[];
  /** True if the focus starts at the list of keys. */
  readonly isAtKeys: boolean;
}

interface ContentProps extends KeyListProps {
  readonly onLeaveEverywhere: () => void;
}

function MenuContent({ items, isAtKeys, onLeaveEverywhere }: ContentProps) {
  const viewer = useViewer();
  const { person, isSignedInByProxy, keyName, serverVersion } = viewer;
  const paused = useStore(isPaused);
  const hasShortcuts = useStore(areShortcutsOn);
  return (
    <>
      <p>
        <UserText text={person ?? "Signed in"} />{" "}
        <span className="muted">
          with the key “<UserText text={keyName} />”
        </span>
      </p>
      <button type="button" onClick={({ currentTarget }) => closeMenu(currentTarget, openPalette)}>
        Go to… (⌘K, Ctrl+K)
      </button>
      <ZoneField />
      <StoredChoice label="Theme" options={THEMES} name={enumWords} read={storedTheme} store={storeTheme} />
      {!isSignedInByProxy && (
        <StoredChoice
          label="Sign out when this browser is not used"
          options={IDLE_LIMITS}
          name={(limit) => IDLE_WORDS[limit]}
          read={storedIdleLimit}
          store={storeIdleLimit}
        />
      )}
      <label className="check">
        <input type="checkbox" checked={paused} onChange={(event) => isPaused.set(event.target.checked)} />
        Pause updates of this page
      </label>
      <label className="check">
        <input
          type="checkbox"
          checked={hasShortcuts}
          onChange={(event) => turnShortcuts(event.target.checked ? "on" : "off")}
        />
        Keyboard shortcuts
      </label>
      <KeyList items={items} isAtKeys={isAtKeys} />
      {!isSignedInByProxy && (
        <div className="buttons">
          <button type="button" onClick={() => void leave("this")}>
            Sign out
          </button>
          {mayEndOtherSessions(viewer) && (
            <button type="button" onClick={({ currentTarget }) => closeMenu(currentTarget, onLeaveEverywhere)}>
              Sign out all sessions of this key…
            </button>
          )}
        </div>
      )}
      <p className="muted">
        <a href={`${ROOT_PATH}/docs`}>Documentation</a> · version {serverVersion}
      </p>
    </>
  );
}

/** Can have the focus, so that keys scroll to its end in a low window. */
function KeyList({ items, isAtKeys }: KeyListProps) {
  const list = useRef<HTMLElement>(null);
  useEffect(() => {
    if (isAtKeys) list.current?.focus();
  }, []);
  return (
    <section ref={list} tabIndex={0} aria-label="Keys">
      <dl className="shortcuts">
        <dt>⌘K Ctrl+K</dt>
        <dd>go to a page, an account, a post; also without the other shortcuts</dd>
        <dt>j k Enter x</dt>
        <dd>move, open, select a row</dd>
        <dt>Space</dt>
        <dd>select the row that has the focus; also without the other shortcuts</dd>
        <dt>J K *</dt>
        <dd>select while moving, select all that match</dd>
        <dt>r c</dt>
        <dd>retry the row, the selection or the post; cancel the selection or the post</dd>
        <dt>o u</dt>
        <dd>open on the platform, back to the list</dd>
        <dt>/ ?</dt>
        <dd>search, show these keys</dd>
        <dt>. z</dt>
        <dd>show new rows, pause</dd>
        <dt>[ ] t</dt>
        <dd>previous and next post, or month; today in the calendar</dd>
        <dt>o p n N s</dt>
        <dd>unknown outcome: look, published, not there, not there and retry, skip</dd>
        <dt>g, then</dt>
        <dd>{items.map(({ key, name }) => `${key} ${name}`).join(", ")}</dd>
      </dl>
    </section>
  );
}

function LeaveDialog({ onClose }: { readonly onClose: () => void }) {
  const { keyName } = useViewer();
  return (
    <Dialog title="Sign out all sessions?" onClose={onClose}>
      <p>
        Everyone who signed in with the key “<UserText text={keyName} />” is signed out, in every browser, and
        must enter a key again. The key itself stays valid.
      </p>
      <div className="buttons">
        <button
          type="button"
          className="danger"
          onClick={() => {
            onClose();
            void leave("all");
          }}
        >
          Sign out all
        </button>
        <button type="button" onClick={onClose}>
          Stay signed in
        </button>
      </div>
    </Dialog>
  );
}

function ZoneField() {
  const zone = useZone();
  const zones = [...new Set([DEVICE_ZONE, "UTC", zone, ...Intl.supportedValuesOf("timeZone")])];
  return (
    <Choice
      label="Time zone"
      value={zone}
      options={zones}
      name={(option) => (option === DEVICE_ZONE ? `${option} (this device)` : option)}
      onChange={chooseZone}
    />
  );
}

interface StoredChoiceProps<T extends string> extends Pick<ChoiceProps<T>, "label" | "options" | "name"> {
  readonly read: () => T;
  readonly store: (value: T) => void;
}

/** A choice that this browser stores. */
function StoredChoice<T extends string>({ read, store, ...choice }: StoredChoiceProps<T>) {
  const [value, setValue] = useState(read);
  function onChange(chosen: T): void {
    setValue(chosen);
    store(chosen);
  }
  return <Choice {...choice} value={value} onChange={onChange} />;
}

/** Closes the menu first, so that the focus returns to its button after the dialog that opens. */
function closeMenu(button: HTMLElement, openDialog: () => void): void {
  button.closest<HTMLElement>("[popover]")?.hidePopover();
  openDialog();
}
