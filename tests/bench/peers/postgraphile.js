// PostGraphile on the tables as they are, with the schema that it makes of them, on node:http.
import { createServer } from "node:http";
import pg from "pg";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

// It wants Node 22, of which this is all that it needs.
Promise.withResolvers ??= () => {
  let resolve, reject;
  const promise = new Promise((...both) => {
    [resolve, reject] = both;
  });
  return { promise, resolve, reject };
};

const built = postgraphile({
  extends: [PostGraphileAmberPreset],
  // It offers no order by the columns of partial indexes.
  disablePlugins: ["PgIndexBehaviorsPlugin"],
  pgServices: [makePgService({ pool: new pg.Pool(), schemas: ["public"] })],
  grafserv: { graphqlPath: "/graphql", graphiql: false, watch: false },
  grafast: { explain: false },
});
const server = createServer();
built.createServ(grafserv).addTo(server);
server.listen(Number(process.env.PORT), "127.0.0.1");
