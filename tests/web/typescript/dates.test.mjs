// Dates, and the views of the statistics and the calendar in the URL.

import assert from "node:assert/strict";
import test from "node:test";

import {
  addDays,
  countDays,
  datesBetween,
  formatDate,
  formatDates,
  hourOfWeek,
  inWeeks,
  parseDate,
  startOfDate,
  startOfMonth,
  startOfWeek,
} from "../../../app/web/source/board/text/dates";
import { percent } from "../../../app/web/source/board/text/numbers";
import {
  calendarPath,
  parseCalendar,
  shownDates,
  viewAfter,
} from "../../../app/web/source/board/url/calendar";
import {
  datesOf,
  intervalOf,
  intervalsOf,
  isTooLong,
  numbersPath,
  parseNumbers,
} from "../../../app/web/source/board/url/numbers";

const TODAY = "2026-11-28";

test("only dates of the calendar are dates", () => {
  assert.equal(parseDate("2028-02-29"), "2028-02-29");
  const texts = [
    "2026-02-29",
    "2026-13-01",
    "2026-1-1",
    "28 Nov",
    "",
    "1900-12-31",
    "9998-01-01",
    "2026-11-28T00:00",
  ];
  assert.deepEqual(
    texts.map(parseDate),
    texts.map(() => null),
  );
});

test("weeks begin on Monday, and months have their length", () => {
  assert.equal(startOfWeek("2026-11-29"), "2026-11-23");
  assert.equal(startOfWeek("2026-11-23"), "2026-11-23");
  assert.equal(startOfMonth("2026-01-31", 1), "2026-02-01");
  assert.equal(startOfMonth("2026-01-31", -1), "2025-12-01");
  assert.equal(addDays("2026-12-31", 1), "2027-01-01");
  assert.equal(countDays("2026-02-01", "2026-03-01"), 29);
  assert.deepEqual(datesBetween("2026-02-28", "2026-03-01"), ["2026-02-28", "2026-03-01"]);
  assert.deepEqual(
    inWeeks(datesBetween("2026-11-23", "2026-12-06")).map((week) => week[0]),
    ["2026-11-23", "2026-11-30"],
  );
});

test("a day starts at midnight on the clock of the zone, or when the clock has skipped it", () => {
  const start = (date, zone) => startOfDate(date, zone).toISOString();
  assert.equal(start("2026-03-29", "Europe/Berlin"), "2026-03-28T23:00:00.000Z");
  assert.equal(start("2026-03-30", "Europe/Berlin"), "2026-03-29T22:00:00.000Z");
  assert.equal(start("2018-11-04", "America/Sao_Paulo"), "2018-11-04T03:00:00.000Z");
  assert.equal(start("2026-11-01", "America/Havana"), "2026-11-01T04:00:00.000Z");
  assert.equal(start("2011-12-30", "Pacific/Apia"), start("2011-12-31", "Pacific/Apia"));
});

test("dates read well", () => {
  assert.equal(formatDate(TODAY, "short"), "Sat 28 Nov");
  assert.equal(formatDate(TODAY, "long"), "Saturday 28 November 2026");
  assert.equal(formatDates("2026-11-22", TODAY).replaceAll("\u2009", " "), "22 – 28 November 2026");
  assert.equal(formatDates(TODAY, TODAY), "28 November 2026");
});

test("shares are all or nothing only if they are", () => {
  assert.deepEqual([0, 0.0001, 0.973, 0.9999, 1].map(percent), ["0%", "0.1%", "97.3%", "99.9%", "100%"]);
});

test("a view of the statistics survives its URL", () => {
  const path =
    "/numbers?from=2026-11-01&to=2026-11-10&interval=WEEK&by=ACCOUNT&heat=late&platform=x&account=3%2C7";
  assert.equal(numbersPath(parseNumbers(path.split("?")[1])), path);
  assert.equal(numbersPath(parseNumbers("")), "/numbers");
  assert.equal(
    numbersPath(parseNumbers("period=9d&from=2026-13-01&to=x&by=&heat=1&account=-1&interval=YEAR")),
    "/numbers",
  );
});

test("periods are whole days until today, and at most a year", () => {
  const dates = (search) => datesOf(parseNumbers(search), TODAY);
  assert.deepEqual(dates(""), { first: "2026-11-22", last: TODAY });
  assert.deepEqual(dates("period=today"), { first: TODAY, last: TODAY });
  assert.deepEqual(dates("period=yesterday"), { first: "2026-11-27", last: "2026-11-27" });
  assert.deepEqual(dates("period=month"), { first: "2026-11-01", last: TODAY });
  assert.deepEqual(dates("period=lastMonth"), { first: "2026-10-01", last: "2026-10-31" });
  assert.deepEqual(dates("period=365d"), { first: "2025-11-29", last: TODAY });
  assert.deepEqual(dates("from=2026-11-10&to=2026-11-01"), { first: "2026-11-01", last: "2026-11-10" });
  assert.deepEqual(dates("from=2000-01-01&to=2026-01-01"), { first: "2025-01-01", last: "2026-01-01" });
  assert.equal(isTooLong({ first: "2025-01-01", last: "2026-01-01" }), false);
  assert.equal(isTooLong({ first: "2024-12-31", last: "2026-01-01" }), true);
});

test("an hour of the week is one of the seven days from the first, also when the clock changes", () => {
  const hour = (first, number, zone) =>
    Object.values(hourOfWeek(first, number, zone)).map((time) => time.toISOString().slice(5, 16));
  assert.deepEqual(hour("2026-11-25", 0, "UTC"), ["11-30T00:00", "11-30T01:00"]);
  assert.deepEqual(hour("2026-11-25", 2 * 24 + 23, "UTC"), ["11-25T23:00", "11-26T00:00"]);
  const sunday = 6 * 24;
  assert.deepEqual(hour("2026-10-19", sunday + 2, "Europe/Berlin"), ["10-25T00:00", "10-25T02:00"]);
  assert.deepEqual(hour("2026-03-23", sunday + 1, "Europe/Berlin"), ["03-29T00:00", "03-29T01:00"]);
  assert.deepEqual(hour("2026-03-23", sunday + 3, "Europe/Berlin"), ["03-29T01:00", "03-29T02:00"]);
});

test("the interval fits the period", () => {
  const [day, month, year] = [
    { first: TODAY, last: TODAY },
    { first: "2026-11-01", last: TODAY },
    { first: "2025-11-29", last: TODAY },
  ];
  assert.deepEqual([day, month].map(intervalsOf), [
    ["HOUR", "DAY"],
    ["DAY", "WEEK"],
  ]);
  assert.deepEqual(
    [day, month, year].map((period) => intervalOf({ interval: null }, period)),
    ["HOUR", "DAY", "WEEK"],
  );
  assert.equal(intervalOf({ interval: "HOUR" }, month), "DAY");
  assert.equal(intervalOf({ interval: "WEEK" }, month), "WEEK");
});

test("a view of the calendar survives its URL", () => {
  const view = parseCalendar("week", TODAY, "?status=FAILED,NO&platform=x&account=3");
  assert.equal(calendarPath(view), "/calendar/week/2026-11-28?status=FAILED&platform=x&account=3");
  assert.deepEqual(shownDates(view), ["2026-11-23", "2026-11-29"]);
  assert.equal(viewAfter(view, 1).date, "2026-12-05");
  assert.equal(parseCalendar("year", TODAY, ""), null);
  assert.equal(parseCalendar("day", "2026-02-30", ""), null);
});

test("a month fills its weeks", () => {
  const month = parseCalendar("month", "2026-11-30", "");
  assert.deepEqual(shownDates(month), ["2026-10-26", "2026-12-06"]);
  assert.deepEqual(shownDates(viewAfter(month, 3)), ["2027-02-01", "2027-02-28"]);
  assert.equal(viewAfter(parseCalendar("month", "2026-01-31", ""), 1).date, "2026-02-01");
});
