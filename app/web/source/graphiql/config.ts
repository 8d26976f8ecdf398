// Settings of the page, which the server writes into the attributes of its root element.

const element = document.getElementById("explorer")!;
const { keyPrefix, demoKey } = element.dataset as Record<string, string>;

/** The element that contains the page. */
export const ROOT = element;
/** Prefix of every API key. */
export const KEY_PREFIX = keyPrefix ?? "";
/** The key of the demo workspace; empty unless the server has the demo data. */
export const DEMO_KEY = demoKey ?? "";

// Relative to the page, so that they also work behind a proxy that adds a path prefix.
export const GRAPHQL_URL = new URL("graphql", location.href).href;
export const REST_URL = new URL("v1", location.href).href;
