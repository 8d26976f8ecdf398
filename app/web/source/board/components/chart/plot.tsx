/*! uPlot, Copyright (c) 2025 Leon Sorokin, MIT license, https://github.com/leeoniya/uPlot */
// Draws a chart by uPlot on a canvas, with a cursor that keys move. Loaded with the first chart.

import { useEffect, useEffectEvent, useRef, type KeyboardEvent } from "react";
import uPlot from "uplot";

import { hasModifier } from "../../keyboard/shortcuts";
import type { ChartData } from "./chart";
import { UNITS } from "./units";

interface Props {
  readonly data: ChartData;
  /** Bucket at the cursor. */
  readonly index: number | null;
  readonly onIndex: (index: number | null) => void;
}

const HEIGHT = 180;
/** Distances between labels of the time axis, in buckets. */
const LABEL_STEPS = [1, 2, 3, 4, 6, 7, 12, 14, 24, 28, 48, 72];
const LABEL_SPACE = 60;
const DASH = [6, 3];

export default function Plot({ data, index, onIndex }: Props) {
  const container = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const onCursor = useEffectEvent(onIndex);
  const placeCursor = useEffectEvent((drawn: uPlot) => {
    drawn.setCursor({ left: index === null ? -1 : drawn.valToPos(index, "x"), top: 0 }, false);
  });

  useEffect(() => {
    const element = container.current!;
    const hooks: uPlot.Hooks.Arrays = {
      setCursor: [({ cursor }) => onCursor(cursor.idx ?? null)],
      draw: [(drawn) => placeCursor(drawn)],
    };
    const drawn = new uPlot({ ...options(data, element), hooks }, alignedData(data), element);
    plot.current = drawn;
    const stopWatching = watch(element, drawn);
    return () => {
      stopWatching();
      drawn.destroy();
    };
  }, [data]);

  useEffect(() => placeCursor(plot.current!), [index]);

  function move(event: KeyboardEvent): void {
    const target = hasModifier(event) ? null : indexAfter(event.key, index, data.buckets.length - 1);
    if (target === null) return;
    event.preventDefault();
    onIndex(target);
  }

  return (
    <div role="img" aria-label={`${data.title}. ${data.sentence}`} tabIndex={0} onKeyDown={move}>
      <div ref={container} aria-hidden="true" />
    </div>
  );
}

function indexAfter(key: string, index: number | null, last: number): number | null {
  switch (key) {
    case "ArrowLeft":
      return Math.max(0, (index ?? last + 1) - 1);
    case "ArrowRight":
      return Math.min(last, (index ?? -1) + 1);
    case "Home":
      return 0;
    case "End":
      return last;
    default:
      return null;
  }
}

/** Keeps the size and the colors; returns a function that ends it. */
function watch(element: HTMLElement, plot: uPlot): () => void {
  const redraw = () => plot.redraw(false);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const resize = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
  const theme = new MutationObserver(redraw);
  resize.observe(element);
  theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  scheme.addEventListener("change", redraw);
  return () => {
    resize.disconnect();
    theme.disconnect();
    scheme.removeEventListener("change", redraw);
  };
}

/** Series in the order of drawing: of stacked bars, the highest first, because each starts at zero. */
function inDrawingOrder({ kind, series }: ChartData): ChartData["series"] {
  return kind === "bars" ? [...series].reverse() : series;
}

function alignedData(data: ChartData): uPlot.AlignedData {
  const { kind, series, buckets } = data;
  const sumUpTo = (one: ChartData["series"][number], index: number) =>
    series.slice(0, series.indexOf(one) + 1).reduce((sum, { values }) => sum + (values[index] ?? 0), 0);
  return [
    buckets.map((_, index) => index),
    ...inDrawingOrder(data).map((one) =>
      kind === "bars" ? buckets.map((_, index) => sumUpTo(one, index)) : [...one.values],
    ),
  ];
}

function options(data: ChartData, element: HTMLElement): uPlot.Options {
  const { kind, unit, buckets } = data;
  const { format, steps, max } = UNITS[unit];
  // The canvas has the colors of the page and of the legend, which depend on the theme.
  const figure = element.closest("figure")!;
  const color = (selector: string) => getComputedStyle(figure.querySelector(selector)!).color;
  const muted = () => color(".readout");
  const grid: uPlot.Axis.Grid = { stroke: () => getComputedStyle(figure).borderTopColor, width: 1 };
  const font = `12px ${getComputedStyle(figure).fontFamily}`;
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: kind === "lines" } },
    scales: {
      x: { time: false, range: [-0.5, buckets.length - 0.5] },
      y: { range: (_, __, highest) => [0, max ?? Math.max(1, highest * 1.1)] },
    },
    axes: [
      {
        stroke: muted,
        font,
        grid: { show: false },
        ticks: grid,
        incrs: LABEL_STEPS,
        space: LABEL_SPACE,
        values: (_, at) => at.map((index) => buckets[index]?.label ?? ""),
      },
      { stroke: muted, font, grid, ticks: grid, incrs: steps, size: 80, values: (_, at) => at.map(format) },
    ],
    series: [
      {},
      ...inDrawingOrder(data).map(({ tone }, order): uPlot.Series => {
        const stroke = () => color(`.tone-${tone}`);
        if (kind === "lines")
          return { stroke, width: 2, points: { fill: stroke }, ...(order > 0 && { dash: DASH }) };
        return {
          fill: stroke,
          stroke: () => getComputedStyle(figure).backgroundColor,
          width: 1,
          paths: uPlot.paths.bars!({ size: [0.8, 48] }),
          points: { show: false },
        };
      }),
    ],
  };
}
