// Runs a PLC directory in memory on the port of the first argument.
import plc from "@did-plc/server";

const server = plc.PlcServer.create({ db: plc.Database.mock(), port: Number(process.argv[2]) });
await server.start();
