// Runs a PDS. Arguments: port, port of its public URL, port of its PLC directory, and folder of its data.
import { startPds } from "./servers.mjs";

const [port, publicPort, plcPort] = process.argv.slice(2, 5).map(Number);
await startPds({ port, publicPort, plcPort, folder: process.argv[5] });
