// The start of a period that ends now.

import { useMemo } from "react";

import { useNow } from "../../components/time";
import { serverNow } from "../../text/clock";
import { startOfDate } from "../../text/dates";
import { dayOf, HOUR_MS } from "../../text/times";
import { useZone } from "../../text/zone";
import { PERIOD_HOURS, type FailurePeriod } from "../../url/failures";

/**
 * Start of the period; null without a period. That of a number of hours is fixed when the period is chosen: another
 * start with each rendering would read the failures again and again.
 */
export function usePeriodStart(period: FailurePeriod | null): string | null {
  const zone = useZone();
  const today = startOfDate(dayOf(useNow(), zone), zone).toISOString();
  const start = useMemo(() => {
    if (period === null || period === "today") return null;
    return new Date(serverNow().getTime() - PERIOD_HOURS[period] * HOUR_MS).toISOString();
  }, [period]);
  return period === "today" ? today : start;
}
