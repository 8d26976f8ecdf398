// Finds objects that changed while a request was under way: its response may be older than the change.

let runningRequests = 0;
const changedAt = new Map<string, number>();

let readAgain: (ids: readonly string[]) => void = () => undefined;

/** Sets the function that reads objects again by their ids. */
export function onOutdatedObjects(read: (ids: readonly string[]) => void): void {
  readAgain = read;
}

/** Records a live change of the objects with these ids, which a running request may still add to the store. */
export function recordChangedObjects(ids: readonly string[]): void {
  if (runningRequests === 0) return;
  for (const id of ids) changedAt.set(id, performance.now());
}

/** Records the start of a request; call the returned function when its response has arrived. */
export function startRequest(): () => void {
  const startedAt = performance.now();
  runningRequests += 1;
  return () => {
    runningRequests -= 1;
    const outdated = [...changedAt].filter(([, time]) => time >= startedAt).map(([id]) => id);
    if (runningRequests === 0) changedAt.clear();
    // After the store has received the response.
    if (outdated.length > 0) setTimeout(() => readAgain(outdated), 0);
  };
}
