// Idempotency keys: a request that is sent twice has one effect.

import { useRef } from "react";
import { useMutation } from "react-relay/hooks";
import type { GraphQLTaggedNode, MutationParameters } from "relay-runtime";

import { isRefusal } from "./server-error";

interface Mutation extends MutationParameters {
  readonly variables: { readonly input: { readonly idempotencyKey?: string | null | undefined } };
}

interface Handlers<T extends Mutation> {
  readonly onCompleted: (response: T["response"]) => void;
  readonly onError: (error: Error) => void;
}

type Input<T extends Mutation> = Omit<T["variables"]["input"], "idempotencyKey">;

/** A random key. Browsers offer `randomUUID` over https only. */
export function newIdempotencyKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * A function that sends a mutation with a key of its own for each press. If there was no response, the request
 * may have had its effect: a press with the same input repeats it with the same key, unless the `state` of the
 * object has changed meanwhile.
 */
export function useIdempotentMutation<T extends Mutation>(
  mutation: GraphQLTaggedNode,
): [send: (input: Input<T>, handlers: Handlers<T>, state?: unknown) => void, isBusy: boolean] {
  const [commit, isBusy] = useMutation<T>(mutation);
  const unanswered = useRef<{ readonly content: string; readonly key: string } | null>(null);
  function send(input: Input<T>, { onCompleted, onError }: Handlers<T>, state: unknown = null): void {
    const content = JSON.stringify([input, state]);
    const key = unanswered.current?.content === content ? unanswered.current.key : newIdempotencyKey();
    unanswered.current = { content, key };
    commit({
      variables: { input: { ...input, idempotencyKey: key } },
      onCompleted: (response) => {
        unanswered.current = null;
        onCompleted(response);
      },
      onError: (error) => {
        if (isRefusal(error)) unanswered.current = null;
        onError(error);
      },
    });
  }
  return [send, isBusy];
}
