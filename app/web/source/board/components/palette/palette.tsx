// One field for all pages, accounts, posts and actions: a combobox with its list.

import { useEffect, useId, useRef, useState, type KeyboardEvent } from "react";
import { useRelayEnvironment } from "react-relay/hooks";
import type { Subscription } from "relay-runtime";
import { useLocation } from "wouter";

import { leave } from "../../session/leave";
import { useViewer } from "../../session/viewer";
import { isPaused } from "../../live/connection";
import { useStore } from "../../store";
import { pastedUrls } from "../../url/parameters";
import { postPath } from "../../url/paths";
import type { NavigationItem } from "../layout";
import { UserText } from "../user-text";
import { useAccountSearch } from "./palette-accounts";
import { paletteEntries, type Entry } from "./palette-entries";
import { findPost, type PostKey } from "./palette-post";

interface Props {
  readonly pages: readonly NavigationItem[];
  readonly onClose: () => void;
}

/** Longest text that the API searches for, and longest address of a publication. */
const MAX_TEXT_LENGTH = 200;
const MAX_URL_LENGTH = 2_000;

const LABEL = "Page, account, or id, address or text of a post";
const NOT_FOUND = {
  id: "This workspace has no post and no result with this id.",
  urls: "No post of this workspace was published at this address.",
} as const;

export default function Palette({ pages, onClose }: Props) {
  const environment = useRelayEnvironment();
  const [, navigate] = useLocation();
  const { isSignedInByProxy } = useViewer();
  const paused = useStore(isPaused);
  const listId = useId();
  const [text, setText] = useState("");
  const [activeId, setActiveId] = useState<string | null>(null);
  const [message, setMessage] = useState("");
  const postSearch = useRef<Subscription>(null);
  const trimmed = text.trim();
  const isLink = pastedUrls(trimmed) !== null;
  const searched = isLink ? "" : trimmed.slice(0, MAX_TEXT_LENGTH);
  const { accounts, problem } = useAccountSearch(searched);

  const entries = paletteEntries({
    text: isLink ? trimmed : searched,
    pages,
    accounts,
    go,
    openPost,
    commands: [
      {
        name: paused ? "Resume updates of this page" : "Pause updates of this page",
        run: () => close(() => isPaused.set(!paused)),
      },
      ...(isSignedInByProxy ? [] : [{ name: "Sign out", run: () => close(() => void leave("this")) }]),
    ],
  });
  // By its id: entries may join while the user moves. The first one is active at first.
  const activeIndex = Math.max(
    0,
    entries.findIndex(({ id }) => id === activeId),
  );
  const active = entries[activeIndex];
  const optionId = ({ id }: Entry) => `${listId}-${id}`;

  useEffect(() => () => postSearch.current?.unsubscribe(), []);
  useEffect(() => {
    document.getElementById(listId)?.children[activeIndex]?.scrollIntoView({ block: "nearest" });
  }, [listId, activeIndex]);

  function close(action: () => void): void {
    onClose();
    action();
  }

  function go(path: string): void {
    close(() => navigate(path));
  }

  function openPost(key: PostKey): void {
    postSearch.current?.unsubscribe();
    setMessage("Looking it up…");
    postSearch.current = findPost(environment, key).subscribe({
      next: (postId) =>
        postId ? go(postPath(postId)) : setMessage(NOT_FOUND["id" in key ? "id" : "urls"]),
      error: ({ message: reason }: Error) => setMessage(reason),
    });
  }

  function change(value: string): void {
    postSearch.current?.unsubscribe();
    setText(value);
    setActiveId(null);
    setMessage("");
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.nativeEvent.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      setActiveId(entries[(activeIndex + step + entries.length) % entries.length]?.id ?? null);
    } else if (event.key === "Enter") {
      active?.run();
    } else {
      return;
    }
    event.preventDefault();
  }

  return (
    <>
      <input
        role="combobox"
        aria-expanded="true"
        aria-controls={listId}
        aria-autocomplete="list"
        aria-activedescendant={active && optionId(active)}
        aria-label={LABEL}
        placeholder={LABEL}
        autoFocus
        autoComplete="off"
        spellCheck={false}
        maxLength={MAX_URL_LENGTH}
        value={text}
        onChange={(event) => change(event.target.value)}
        onKeyDown={onKeyDown}
      />
      <ul id={listId} role="listbox" aria-label="Go to" className="palette-list">
        {entries.map((entry) => (
          <li
            key={entry.id}
            id={optionId(entry)}
            role="option"
            aria-selected={entry === active}
            onClick={entry.run}
          >
            <UserText text={entry.name} /> {entry.hint && <small className="muted">{entry.hint}</small>}
          </li>
        ))}
      </ul>
      <p role="status">{message || problem}</p>
    </>
  );
}
