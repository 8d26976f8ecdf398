// Runs every audit of graphql-http against one URL and prints the result of each; all must pass.
import { serverAudits } from "graphql-http";

const [url, key] = process.argv.slice(2);
const fetchWithKey = (address, init = {}) =>
  fetch(address, { ...init, headers: { ...init.headers, authorization: `Bearer ${key}` } });

let passed = 0;
let failed = 0;
for (const audit of serverAudits({ url, fetchFn: fetchWithKey })) {
  const result = await audit.fn();
  if (result.status === "ok") {
    passed += 1;
  } else {
    failed += 1;
    console.log(`${result.status}: ${audit.id} ${audit.name}\n    ${result.reason}`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
