// SQL statements of all peers, on PostgreSQL with pg or on SQLite with better-sqlite3.
const WORKSPACE = process.env.WORKSPACE_ID;
const FILE = process.env.SQLITE_FILE;

const POST = `p.id AS "postId", p.content, p.status, p.scheduled_for AS "scheduledFor", p.timezone,
  p.created_at AS "createdAt", p.updated_at AS "updatedAt"`;
const DESTINATION = `d.post_id AS "postId", d.id AS "destinationId", d.account_id AS "accountId", d.platform,
  d.status, d.published_at AS "publishedAt", d.platform_post_id AS "platformPostId",
  d.platform_post_url AS "platformPostUrl", d.error, d.attempts, d.next_retry_at AS "nextRetryAt"`;
const ACCOUNT = `a.account_name AS "accountName", a.platform AS "accountPlatform"`;
const WITH_ACCOUNT = `JOIN account a ON a.workspace_id = d.workspace_id AND a.id = d.account_id`;

// `w` is the workspace, `x` the other parameter; the array operators differ between the engines.
const statements = ({ w, x, anyUuid, anyInteger }) => ({
  post: `SELECT ${POST} FROM post p WHERE p.workspace_id = ${w} AND p.id = ${x} AND p.deleted_at IS NULL`,
  posts: `SELECT ${POST} FROM post p WHERE p.workspace_id = ${w} AND p.deleted_at IS NULL
    ORDER BY p.created_at DESC, p.id DESC LIMIT ${x}`,
  destinations: `SELECT ${DESTINATION} FROM destination d WHERE d.workspace_id = ${w} AND d.post_id ${anyUuid}
    ORDER BY d.post_id, d.position, d.id`,
  destinationsWithAccounts: `SELECT ${DESTINATION}, ${ACCOUNT} FROM destination d ${WITH_ACCOUNT}
    WHERE d.workspace_id = ${w} AND d.post_id ${anyUuid} ORDER BY d.post_id, d.position, d.id`,
  // A separate statement for one post, because PostgreSQL would plan an array parameter again each time.
  destinationsOfPost: `SELECT ${DESTINATION}, ${ACCOUNT} FROM destination d ${WITH_ACCOUNT}
    WHERE d.workspace_id = ${w} AND d.post_id = ${x} ORDER BY d.position, d.id`,
  accounts: `SELECT a.id AS "accountId", a.platform, a.account_name AS "accountName" FROM account a
    WHERE a.workspace_id = ${w} AND a.id ${anyInteger}`,
  postWithDestinations: `SELECT p.status AS "postStatus", ${DESTINATION}, ${ACCOUNT} FROM post p
    LEFT JOIN destination d ON d.workspace_id = p.workspace_id AND d.post_id = p.id LEFT ${WITH_ACCOUNT}
    WHERE p.workspace_id = ${w} AND p.id = ${x} AND p.deleted_at IS NULL ORDER BY d.position, d.id`,
});

// Each statement as a function of its parameter that returns the rows or a promise of them.
async function onPostgresql() {
  const { default: pg } = await import("pg");
  const pool = new pg.Pool();
  const texts = statements({
    w: "$1",
    x: "$2",
    anyUuid: "= ANY($2::uuid[])",
    anyInteger: "= ANY($2::int[])",
  });
  return Object.fromEntries(
    Object.entries(texts).map(([name, text]) => [
      name,
      async (parameter) => (await pool.query({ name, text, values: [WORKSPACE, parameter] })).rows,
    ]),
  );
}

async function onSqlite() {
  const { default: Database } = await import("better-sqlite3");
  const database = new Database(FILE, { readonly: true });
  for (const pragma of ["mmap_size=268435456", "cache_size=-65536", "temp_store=MEMORY"])
    database.pragma(pragma);
  const among = "IN (SELECT value FROM json_each(?))";
  const texts = statements({ w: "?", x: "?", anyUuid: among, anyInteger: among });
  return Object.fromEntries(
    Object.entries(texts).map(([name, text]) => {
      const statement = database.prepare(text);
      return [
        name,
        (parameter) =>
          statement.all(
            WORKSPACE,
            Array.isArray(parameter) ? JSON.stringify(parameter) : parameter,
          ),
      ];
    }),
  );
}

export const connect = () => (FILE ? onSqlite() : onPostgresql());

export const time = (value) => {
  if (value === null || value === undefined) return null;
  if (value instanceof Date) return value.toISOString();
  return `${value.slice(0, 10)}T${value.slice(11, 23)}Z`;
};

// The rows of each key, in the order of the keys.
export const group = (keys, rows, name) => {
  const byKey = new Map(keys.map((key) => [key, []]));
  for (const row of rows) byKey.get(row[name]).push(row);
  return keys.map((key) => byKey.get(key));
};

// The row of each key, in the order of the keys.
export const order = (keys, rows, name) => {
  const byKey = new Map(rows.map((row) => [row[name], row]));
  return keys.map((key) => byKey.get(key));
};
