// A client of graphql-ws or graphql-sse that goes on where it was, whenever it has to connect anew.

/** For operations that have a variable `after` and select `cursor` in their one field. */
export function resuming(client) {
  return {
    ...client,
    subscribe(operation, sink) {
      const variables = { ...operation.variables }; // written anew into each request
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
