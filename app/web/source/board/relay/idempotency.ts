// Idempotency keys: a request that the browser sends twice has one effect.

/** A key for one press of a button. Browsers offer `randomUUID` over https only. */
export function newIdempotencyKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
