// PostGraphile with the schema that it generates from the tables, on node:http.
import { createServer } from "node:http";
import pg from "pg";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

// PostGraphile requires this function of Node.js 22.
Promise.withResolvers ??= () => {
  let resolve, reject;
  const promise = new Promise((...callbacks) => {
    [resolve, reject] = callbacks;
  });
  return { promise, resolve, reject };
};

const instance = postgraphile({
  extends: [PostGraphileAmberPreset],
  // This plugin omits the order by columns of partial indexes.
  disablePlugins: ["PgIndexBehaviorsPlugin"],
  pgServices: [makePgService({ pool: new pg.Pool(), schemas: ["public"] })],
  grafserv: { graphqlPath: "/graphql", graphiql: false, watch: false },
  grafast: { explain: false },
});
const server = createServer();
instance.createServ(grafserv).addTo(server);
server.listen(Number(process.env.PORT), "127.0.0.1");
