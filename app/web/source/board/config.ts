// Values that the server writes into the page.

const { rootPath = "", keyPrefix = "", demoKey = "" } = document.getElementById("board")!.dataset;

/** Path below which a proxy serves the server; empty or without a slash at its end. */
export const ROOT_PATH = rootPath;
export const BOARD_PATH = `${ROOT_PATH}/board`;
export const KEY_PREFIX = keyPrefix;
/** API key of the demo workspace; empty on a server without demo data. */
export const DEMO_KEY = demoKey;
