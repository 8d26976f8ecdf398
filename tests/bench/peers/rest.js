// fastify with the REST route of R1: two statements, or one with a join (FORM=join).
import { randomUUID } from "node:crypto";
import Fastify from "fastify";
import { connect, time } from "./statements.js";

const database = await connect();

const READ_RESULTS = {
  prefetch: async (postId) => {
    const [post] = await database.post(postId);
    if (!post) return null;
    return { status: post.status, rows: await database.destinationsOfPost(postId) };
  },
  join: async (postId) => {
    const rows = await database.postWithDestinations(postId);
    if (rows.length === 0) return null;
    const { postStatus } = rows[0];
    return { status: postStatus, rows: rows.filter((row) => row.destinationId !== null) };
  },
};
const readResults = READ_RESULTS[process.env.FORM];

const result = (row) => ({
  account_id: row.accountId,
  account_name: row.accountName,
  platform: row.platform,
  status: row.status,
  published_at: time(row.publishedAt),
  platform_post_id: row.platformPostId,
  platform_post_url: row.platformPostUrl,
  error: row.error,
  attempts: row.attempts,
  next_retry_at: time(row.nextRetryAt),
  id: row.destinationId,
  social_account_id: row.accountId,
  last_error: row.error,
});

const app = Fastify();
app.get("/v1/posts/:postId/results", async ({ params: { postId } }, reply) => {
  const post = await readResults(postId);
  const meta = { request_id: randomUUID().slice(0, 8), timestamp: new Date().toISOString() };
  if (!post) {
    reply.code(404);
    return { data: null, error: { code: "not_found" }, meta };
  }
  const data = { post_id: postId, post_status: post.status, results: post.rows.map(result) };
  return { data, error: null, meta };
});
app.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });
