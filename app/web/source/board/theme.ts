// Light, dark, or the theme of the system, in a cookie: the server writes the theme into the page.

import { BOARD_PATH } from "./config";

export const THEMES = ["system", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

const COOKIE = "post-results-board-theme";
const MAX_AGE_SECONDS = 365 * 24 * 60 * 60;

export function storedTheme(): Theme {
  return THEMES.find((theme) => document.cookie.split("; ").includes(`${COOKIE}=${theme}`)) ?? "system";
}

export function storeTheme(theme: Theme): void {
  document.cookie = `${COOKIE}=${theme}; Path=${BOARD_PATH}; Max-Age=${MAX_AGE_SECONDS}; SameSite=Lax`;
  applyTheme(theme);
}

export function applyTheme(theme: Theme): void {
  document.documentElement.dataset.theme = theme;
}
