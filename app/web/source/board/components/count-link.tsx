// A number that leads to its rows.

import { Link } from "wouter";

import { cappedNumber, type CappedCount } from "../text/numbers";
import type { Tone } from "../text/statuses";

interface Props {
  readonly value: CappedCount;
  readonly name: string;
  /** Tone of a number above 0. */
  readonly tone: Tone;
  /** Path below the board, or a fragment of this page. */
  readonly path: string;
}

export function CountLink({ value, name, tone, path }: Props) {
  const content = (
    <>
      <strong>{cappedNumber(value)}</strong> {name}
    </>
  );
  const className = `number tone-${value.count === 0 ? "neutral" : tone}`;
  return (
    <li>
      {path.startsWith("#") ? (
        <a href={path} className={className}>
          {content}
        </a>
      ) : (
        <Link href={path} className={className}>
          {content}
        </Link>
      )}
    </li>
  );
}
