// Calls the server with the npm SDK of the documented API, redirects its fixed host, and prints the results.
// node sdk.mjs URL KEY, and on standard input [[resource, method, ...arguments], ...]
import { text } from "node:stream/consumers";
import PostEverywhere from "@posteverywhere/sdk";

const [url, apiKey] = process.argv.slice(2);
const { fetch } = globalThis;
globalThis.fetch = (address, init) =>
  fetch(address.replace("https://app.posteverywhere.ai", url), init);

const client = new PostEverywhere({ apiKey, maxRetries: 0 });
const results = [];
for (const [resource, method, ...args] of JSON.parse(await text(process.stdin))) {
  try {
    results.push(await client[resource][method](...args));
  } catch ({ constructor, status, code, message, requestId, details }) {
    results.push({ error: constructor.name, status, code, message, requestId, details });
  }
}
console.log(JSON.stringify(results));
