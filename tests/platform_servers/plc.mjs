// Runs a PLC directory in memory on the port of the first argument.
import { startPlc } from "./servers.mjs";

await startPlc(Number(process.argv[2]));
