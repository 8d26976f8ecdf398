// Runs a PDS on the port of the first argument. PDS_PORT is the port of its public URL.
import { PDS, envToCfg, envToSecrets, readEnv } from "@atproto/pds";

const environment = readEnv();
const configuration = envToCfg(environment);
configuration.service.port = Number(process.argv[2]);
const server = await PDS.create(configuration, envToSecrets(environment));
await server.start();
