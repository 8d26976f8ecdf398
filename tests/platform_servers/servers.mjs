// The servers of accounts on loopback, whose other settings the environment can change.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import plc from "@did-plc/server";
import { PDS, envToCfg, envToSecrets, readEnv } from "@atproto/pds";

/** Start a PLC directory in memory, and return its HTTP server. */
export function startPlc(port) {
  return plc.PlcServer.create({ db: plc.Database.mock(), port }).start();
}

/** Start a PDS with its data in a folder; `publicPort` is the port of its URL in DID documents. */
export async function startPds({ port, publicPort, plcPort, folder }) {
  const blobs = join(folder, "blobs");
  mkdirSync(blobs, { recursive: true });
  const settings = {
    PDS_PORT: publicPort,
    PDS_HOSTNAME: "localhost",
    PDS_DEV_MODE: true,
    PDS_DATA_DIRECTORY: folder,
    PDS_BLOBSTORE_DISK_LOCATION: blobs,
    // It cannot resolve a DID at 127.0.0.1.
    PDS_DID_PLC_URL: `http://localhost:${plcPort}`,
    PDS_SERVICE_HANDLE_DOMAINS: ".test",
    PDS_INVITE_REQUIRED: false,
    PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX: "1".repeat(64),
    PDS_CRAWLERS: "",
    PDS_ENABLE_DID_DOC_WITH_SESSION: true,
    // No server listens there.
    PDS_BSKY_APP_VIEW_URL: "http://127.0.0.1:9",
    PDS_BSKY_APP_VIEW_DID: "did:web:appview.test",
  };
  for (const [name, value] of Object.entries(settings)) process.env[name] = String(value);
  const environment = readEnv();
  const configuration = envToCfg(environment);
  configuration.service.port = port;
  const server = await PDS.create(configuration, envToSecrets(environment));
  await server.start();
}
