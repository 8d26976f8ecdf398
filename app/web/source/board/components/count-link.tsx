// Numbers that lead to their rows.

import { Link } from "wouter";

import { cappedNumber, type CappedCount } from "../text/numbers";
import type { Tone } from "../text/statuses";

export interface CountLinkProps {
  readonly value: CappedCount;
  readonly name: string;
  /** Tone of a number above 0. */
  readonly tone: Tone;
  /** Path below the board, or a fragment of this page. */
  readonly path: string;
}

interface ListProps {
  /** Accessible name of the numbers. */
  readonly label: string;
  readonly counts: readonly CountLinkProps[];
}

export function CountLinks({ label, counts }: ListProps) {
  return (
    <section aria-label={label}>
      <ul className="numbers">
        {counts.map((count, index) => (
          // A name may contain changing numbers, and a new key would take the focus away.
          <CountLink key={index} {...count} />
        ))}
      </ul>
    </section>
  );
}

export function CountLink({ value, name, tone, path }: CountLinkProps) {
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
