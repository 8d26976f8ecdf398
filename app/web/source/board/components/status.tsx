// A status as icon, word and color.

import type { StatusWords } from "../text/statuses";
import { Icon } from "./icon";

export function Status({ words }: { readonly words: StatusWords }) {
  return (
    <span className={`status tone-${words.tone}`}>
      <Icon name={words.icon} />
      {words.name}
    </span>
  );
}
