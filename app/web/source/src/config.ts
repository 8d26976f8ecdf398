// What the server tells the page, in the attributes of its one element. Nothing is asked for here.

const element = document.getElementById("explorer")!;
const { keyPrefix, demoKey } = element.dataset as Record<string, string>;

/** Where the page is drawn. */
export const ROOT = element;
/** What every API key starts with. */
export const KEY_PREFIX = keyPrefix ?? "";
/** The key of the demo workspace; empty unless the server shows the demo. */
export const DEMO_KEY = demoKey ?? "";

// Relative to the page, so that they hold behind a proxy that serves it under a prefix.
export const GRAPHQL_URL = new URL("graphql", location.href).href;
export const REST_URL = new URL("v1", location.href).href;
