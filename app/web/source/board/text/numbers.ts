// Numbers with their words.

const format = new Intl.NumberFormat("en");

/** "1 change", "2,300 changes". */
export function count(number: number, singular: string, plural = `${singular}s`): string {
  return `${format.format(number)} ${number === 1 ? singular : plural}`;
}

/** The verb after the number of a subject. */
export function wasOrWere(number: number): string {
  return number === 1 ? "was" : "were";
}

export interface CappedCount {
  readonly count: number;
  /** True if counting stopped at `count`. */
  readonly capped: boolean;
}

/** The number of matches of a connection; 0 for one that could not be read. */
export function totalOf(
  connection:
    | {
        readonly totalCountCapped?: number | null | undefined;
        readonly totalCountIsCapped?: boolean | null | undefined;
      }
    | null
    | undefined,
): CappedCount {
  return { count: connection?.totalCountCapped ?? 0, capped: connection?.totalCountIsCapped ?? false };
}

/** A number that was counted to the end. */
export function exactCount(count: number): CappedCount {
  return { count, capped: false };
}

/** "8", or "10,000+" if counting stopped there. */
export function cappedNumber({ count, capped }: CappedCount): string {
  return capped ? `${format.format(count)}+` : format.format(count);
}

export function plainNumber(number: number): string {
  return format.format(number);
}

const percentFormat = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });

/** "97.3%" for 0.973; a share that is not quite all or nothing never reads as if it were. */
export function percent(share: number): string {
  if (share > 0.999 && share < 1) return "99.9%";
  if (share > 0 && share < 0.001) return "0.1%";
  return percentFormat.format(share);
}
