import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { live } from '../live/store';

const COLORS = ['#1694a9', '#d9480f', '#7048e8', '#2b8a3e', '#c2255c', '#e67700'];

interface Line {
  entity: string;
  attribute: string;
  label: string;
}

/** The latest values of numeric attributes as lines over time; new points are drawn as they come. */
export function Chart({ lines, height = 220, label }: { lines: Line[]; height?: number; label: string }) {
  const box = useRef<HTMLDivElement>(null);
  const scheme = useComputedColorScheme('light');
  const key = JSON.stringify(lines);

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const wanted = JSON.parse(key) as Line[];
    const ink = scheme === 'dark' ? '#98a4ad' : '#56616a';
    const grid = scheme === 'dark' ? '#2e373d' : '#e6eaec';
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    const plot = new uPlot(
      {
        width: element.clientWidth || 600,
        height,
        scales: { x: { time: true, range: rangeOfTime } },
        axes: [axis, { ...axis, size: 60 }],
        series: [
          {
            label: 'Time',
            value: (_, time) => (time == null ? '–' : new Date(time * 1000).toLocaleTimeString([], { hour12: false })),
          },
          ...wanted.map((line, index) => ({
            label: line.label,
            stroke: COLORS[index % COLORS.length],
            width: 1.8,
            spanGaps: true,
            points: { size: 4 },
          })),
        ],
        cursor: { drag: { x: false, y: false } },
      },
      dataOf(wanted),
      element,
    );
    const resize = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height }));
    resize.observe(element);
    let last = '';
    const stop = live.subscribe(() => {
      const data = dataOf(wanted);
      const now = `${data[0].length}:${data[0].at(-1)}`;
      if (now !== last) {
        last = now;
        plot.setData(data);
      }
    });
    return () => {
      stop();
      resize.disconnect();
      plot.destroy();
    };
  }, [key, scheme, height]);

  return <div ref={box} role="img" aria-label={label} />;
}

/** A single point stands in the middle of a minute. */
function rangeOfTime(_plot: uPlot, from: number | null, to: number | null): uPlot.Range.MinMax {
  if (from == null || to == null) {
    const now = Date.now() / 1000;
    return [now - 60, now];
  }
  return to - from < 1 ? [from - 30, to + 30] : [from, to];
}

/** Joins series of different times on one axis. */
function dataOf(lines: Line[]): uPlot.AlignedData {
  const tables = lines.map(({ entity, attribute }) => {
    const series = live.series.get(entity, attribute);
    return [series?.times ?? [], series?.values ?? []] as uPlot.AlignedData;
  });
  if (tables.length === 0) return [[]];
  return uPlot.join(tables);
}
