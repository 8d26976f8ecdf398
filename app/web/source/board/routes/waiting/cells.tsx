// What differs between the lists: the time that counts, and what happens then.

import { Countdown } from "../../components/countdown";
import { Sentence, Time } from "../../components/time";
import { UserText } from "../../components/user-text";
import type { CellProps } from "./waiting-section";

const TEXT_LIMIT = 200;

export function RetryTime({ row: { nextRetryAt } }: CellProps) {
  return nextRetryAt && <Countdown at={nextRetryAt} ahead="next attempt" behind="waits for a publisher since" />;
}

/** The time that the mirrored service planned; only an import shows whether it has retried since. */
export function MirroredRetryTime({ row: { nextRetryAt } }: CellProps) {
  return nextRetryAt && <Countdown at={nextRetryAt} ahead="planned for" behind="since the planned time" />;
}

export function OverdueTime({ row: { leaseExpiresAt, outlook } }: CellProps) {
  const behind = leaseExpiresAt ? "no report since" : "not taken since";
  return outlook.nextAt && <Countdown at={outlook.nextAt} ahead="due" behind={behind} />;
}

export function PublishingTime({ row: { leaseExpiresAt } }: CellProps) {
  return (
    leaseExpiresAt && <Countdown at={leaseExpiresAt} ahead="must report until" behind="no report since" />
  );
}

/** The last error, and how long retrying goes on. */
export function RetryLimits({ row: { error, outlook } }: CellProps) {
  const { attempt, maxAttempts, givesUpAt } = outlook;
  return (
    <>
      {error && <UserText text={error} limit={TEXT_LIMIT} />}
      <small className="muted">
        {attempt && maxAttempts ? `Attempt ${attempt} of ${maxAttempts}. ` : ""}
        {givesUpAt && (
          <>
            Gives up after <Time at={givesUpAt} />.
          </>
        )}
        {maxAttempts && !givesUpAt && "Another failure like this is final."}
      </small>
    </>
  );
}

export function Outlook({ row: { error, outlook } }: CellProps) {
  return (
    <>
      {error && <UserText text={error} limit={TEXT_LIMIT} />}
      <small className="muted">
        <Sentence text={outlook.sentence} />
      </small>
    </>
  );
}
