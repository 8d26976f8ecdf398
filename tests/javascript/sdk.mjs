// Makes calls by the npm SDK of the documented API, whose host it has built in, and prints what each gives.
// node sdk.mjs URL KEY, and on standard input [[resource, method, ...arguments], ...]
import { text } from "node:stream/consumers";
import PostEverywhere from "@posteverywhere/sdk";

const [url, apiKey] = process.argv.slice(2);
const { fetch } = globalThis;
globalThis.fetch = (address, init) =>
  fetch(address.replace("https://app.posteverywhere.ai", url), init);

const client = new PostEverywhere({ apiKey, maxRetries: 0 });
const answers = [];
for (const [resource, method, ...given] of JSON.parse(await text(process.stdin))) {
  try {
    answers.push(await client[resource][method](...given));
  } catch ({ constructor, status, code, message, requestId, details }) {
    answers.push({ error: constructor.name, status, code, message, requestId, details });
  }
}
console.log(JSON.stringify(answers));
