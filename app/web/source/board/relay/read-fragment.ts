// Reads a fragment once, for instance when a key is pressed.

import type { KeyType, KeyTypeData } from "react-relay/ReactRelayTypes";
import { getFragment, getSingularSelector, type Environment, type GraphQLTaggedNode } from "relay-runtime";

/** Returns the data that the store has now; a change later is not noticed. */
export function readFragment<Key extends KeyType>(
  environment: Environment,
  fragment: GraphQLTaggedNode,
  key: Key,
): KeyTypeData<Key> {
  const selector = getSingularSelector(getFragment(fragment), key);
  return environment.lookup(selector!).data as KeyTypeData<Key>;
}
