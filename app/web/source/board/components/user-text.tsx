// Text from outside. Its direction does not affect the text around it.

import { truncated, visibleText } from "../text/characters";

interface Props {
  readonly text: string;
  /** Number of characters to show; a long text would slow the page down. */
  readonly limit?: number;
}

const DEFAULT_LIMIT = 2_000;

export function UserText({ text, limit = DEFAULT_LIMIT }: Props) {
  return (
    <bdi className="user-text" dir="auto">
      {visibleText(truncated(text, limit))}
    </bdi>
  );
}
