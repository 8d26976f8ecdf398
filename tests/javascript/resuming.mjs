// Wraps a graphql-ws or graphql-sse client so that each reconnection resumes after the last received cursor.

/** Works for operations with a variable `after` and one root field that selects `cursor`. */
export function resuming(client) {
  return {
    ...client,
    subscribe(operation, sink) {
      const variables = { ...operation.variables }; // sent again with each reconnection
      return client.subscribe(
        { ...operation, variables },
        {
          next(result) {
            const [change] = Object.values(result.data ?? {});
            if (change?.cursor) variables.after = change.cursor;
            sink.next(result);
          },
          error: (error) => sink.error(error),
          complete: () => sink.complete(),
        },
      );
    },
  };
}
