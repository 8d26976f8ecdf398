// Runs a PDS with the account alice.test until it is interrupted or terminated, and deletes its data.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startPds, startPlc } from "./servers.mjs";

const { values } = parseArgs({ options: { port: { type: "string", default: "2583" } } });
const port = Number(values.port);
const folder = mkdtempSync(join(tmpdir(), "pds-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit());

const randomSecret = () => randomBytes(16).toString("hex");
process.env.PDS_JWT_SECRET = randomSecret();
process.env.PDS_ADMIN_PASSWORD = randomSecret();
process.env.LOG_ENABLED ??= "false";
const plcServer = await startPlc(0);
await startPds({ port, publicPort: port, plcPort: plcServer.address().port, folder });

const account = await call("com.atproto.server.createAccount", {
  handle: "alice.test",
  email: "alice@example.com",
  password: randomSecret(),
});
const { password } = await call(
  "com.atproto.server.createAppPassword",
  { name: "post-results" },
  account.accessJwt,
);
console.log(`server        http://localhost:${port}`);
console.log(`handle        ${account.handle}`);
console.log(`app password  ${password}`);

async function call(method, body, token) {
  const authorization = token && { Authorization: `Bearer ${token}` };
  const response = await fetch(`http://127.0.0.1:${port}/xrpc/${method}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...authorization },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} answered ${response.status}: ${await response.text()}`);
  return response.json();
}
