// A dashboard and its answers as Grafana would arrange them: stat, timeseries and heatmap, and of their options those that
// deploy/grafana/make.py sets.
(() => {
  const { written, parts, stride } = window;
  const COLUMNS = 24;
  const ROW = 36;
  const GAP = 8;
  const LEGEND_ROW = 18;
  // Grafana's classic palette without its darkest, which cannot be told from each other here; and its names for the colors
  // of thresholds.
  const PALETTE = ['#73BF69', '#F2CC0C', '#8AB8FF', '#FF780A', '#F2495C', '#5794F2', '#B877D9', '#705DA0', '#37872D', '#FADE2A',
    '#447EBC', '#C15C17', '#B7DBAB', '#F4D598', '#70DBED', '#F9BA8F'];
  const NAMED = { green: '#73BF69', yellow: '#FADE2A', red: '#F2495C' };
  const GRID = '#25282e';
  // Few to many.
  const ORANGES = [[61, 26, 8], [127, 39, 4], [217, 72, 1], [253, 141, 60], [253, 208, 162], [255, 245, 235]];

  function add(parent, name, attributes = {}, text) {
    const svg = name === 'svg' || parent.namespaceURI.endsWith('svg');
    const element = svg ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }

  const clock = (second) => new Date(second * 1000).toISOString().slice(11, 19);

  const legend = (format, metric) => format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] ?? '');

  // All series of a panel: what they are called, and their points in the order of time.
  const seriesOf = (panel) => panel.targets.flatMap((target) => target.series.map(({ metric, values }) => ({
    metric,
    name: legend(target.legendFormat, metric),
    points: values.map(([at, value]) => [at, Number(value)]),
  }))).filter(({ points }) => points.some(([, value]) => Number.isFinite(value)));

  const colorOf = (value, steps) => NAMED[steps.findLast((step) => step.value === null || value >= step.value).color];

  function stat(box, panel) {
    const [first] = seriesOf(panel);
    const { unit, thresholds } = panel.fieldConfig.defaults;
    const value = first.points.at(-1)[1];
    const [number, behind] = parts(value, unit);
    const shown = add(box, 'div', { class: 'stat', style: `color: ${colorOf(value, thresholds.steps)}` }, number);
    if (behind) add(shown, 'small', {}, behind);
  }

  // The lines of both axes; returns where a second and a value are.
  function axes(svg, area, { from, to }, labels, top) {
    const x = (at) => area.left + ((at - from) / (to - from)) * area.width;
    const y = (value) => area.top + area.height * (1 - value / top);
    for (const [value, text] of labels) {
      add(svg, 'line', { x1: area.left, x2: area.left + area.width, y1: y(value), y2: y(value), stroke: GRID });
      add(svg, 'text', { x: area.left - 6, y: y(value) + 4, 'text-anchor': 'end' }, text);
    }
    const every = [5, 10, 15, 20, 30, 60, 120, 300].find((each) => ((to - from) / each) * 68 <= area.width) ?? 600;
    for (let at = Math.ceil(from / every) * every; at <= to; at += every) {
      add(svg, 'line', { x1: x(at), x2: x(at), y1: area.top, y2: area.top + area.height, stroke: GRID });
      if (x(at) > area.left + 20 && x(at) < area.left + area.width - 20) {
        add(svg, 'text', { x: x(at), y: area.top + area.height + 15, 'text-anchor': 'middle' }, clock(at));
      }
    }
    return { x, y };
  }

  // Room for the labels of the axis, at the font's size in the style sheet.
  const roomFor = (labels) => Math.max(...labels.map(([, text]) => text.length)) * 6.6 + 16;

  // The parts of a line between which nothing is missing.
  function pieces(points, step) {
    const all = [];
    let last = -Infinity;
    for (const point of points) {
      if (!Number.isFinite(point[1])) continue;
      if (point[0] - last > step * 1.5) all.push([]);
      all.at(-1).push(point);
      last = point[0];
    }
    return all;
  }

  // The last value and the highest.
  function sumUp({ points }) {
    const values = points.map(([, value]) => value).filter(Number.isFinite);
    return { last: values.at(-1), max: Math.max(...values) };
  }

  function table(box, series, unit, fit, options) {
    const list = add(box, 'table');
    const head = add(list, 'tr');
    const rows = series.map((one) => ({ ...one, ...sumUp(one) }));
    if (options.sortBy === 'Max') rows.sort((a, b) => (options.sortDesc ? b.max - a.max : a.max - b.max));
    for (const text of ['Name', 'Last *', 'Max']) add(head, 'th', {}, text === options.sortBy ? `${text} ${options.sortDesc ? '▾' : '▴'}` : text);
    // Grafana would let one scroll.
    const shown = rows.length > fit ? rows.slice(0, fit - 1) : rows;
    for (const { name, color, last, max } of shown) {
      const row = add(list, 'tr');
      const cell = add(row, 'td');
      add(cell, 'i', { style: `background: ${color}` });
      cell.append(name);
      for (const value of [last, max]) add(row, 'td', {}, written(value, unit));
    }
    if (shown.length < rows.length) {
      add(add(add(list, 'tr'), 'td', { colspan: 3 }), 'em', {}, `and ${rows.length - shown.length} more`);
    }
  }

  function timeseries(box, panel, given, size) {
    const { unit, custom, thresholds } = panel.fieldConfig.defaults;
    const stacked = custom.stacking.mode === 'normal';
    const series = seriesOf(panel);
    series.forEach((one, n) => { one.color = PALETTE[n % PALETTE.length]; });
    const fit = Math.min(series.length, Math.floor((size.height * 0.4) / LEGEND_ROW) - 1);
    table(box, series, unit, fit, panel.options.legend);

    // A stacked series stands upon those before it, at each second.
    const sums = new Map();
    for (const one of series) {
      one.drawn = one.points.map(([at, value]) => {
        const below = stacked ? sums.get(at) ?? 0 : 0;
        if (Number.isFinite(value)) sums.set(at, below + value);
        return [at, value + below, below];
      });
    }
    const heights = series.flatMap(({ drawn }) => drawn.map(([, value]) => value)).filter(Number.isFinite);
    const most = Math.max(...heights) || 1;
    const height = size.height - 30 - (fit + 1) * LEGEND_ROW - 10;
    const step = stride(most, unit, Math.max(2, Math.floor(height / 34)));
    const labels = Array.from({ length: Math.ceil(most / step - 1e-6) + 1 }, (_, n) => [n * step, written(n * step, unit)]);
    const top = labels.at(-1)[0];
    const svg = add(box, 'svg', { style: 'top: 28px', width: size.width, height });
    const left = roomFor(labels);
    const area = { left, top: 8, width: size.width - left - 14, height: height - 30 };
    const { x, y } = axes(svg, area, given, labels, top);
    for (const { color, drawn } of series) {
      for (const piece of pieces(drawn, given.step)) {
        const place = ([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`;
        const line = piece.map(place);
        const floor = piece.map(([at, , below]) => place([at, below])).reverse();
        add(svg, 'polygon', { points: [...line, ...floor].join(' '), fill: color, 'fill-opacity': custom.fillOpacity / 100 });
        add(svg, 'polyline', { points: line.join(' '), fill: 'none', stroke: color, 'stroke-width': custom.lineWidth + 0.3, 'stroke-linejoin': 'round' });
      }
    }
    if (custom.thresholdsStyle.mode === 'off') return;
    for (const { value, color } of thresholds.steps) {
      if (value === null || value > top) continue;
      add(svg, 'line', { x1: left, x2: left + area.width, y1: y(value), y2: y(value), stroke: NAMED[color], 'stroke-dasharray': '8 6', 'stroke-opacity': 0.8 });
    }
  }

  function orange(share) {
    const at = share * (ORANGES.length - 1);
    const n = Math.min(Math.floor(at), ORANGES.length - 2);
    const mixed = ORANGES[n].map((part, k) => Math.round(part + (ORANGES[n + 1][k] - part) * (at - n)));
    return `rgb(${mixed.join()})`;
  }

  function heatmap(box, panel, given, size) {
    const { unit } = panel.options.yAxis;
    const buckets = seriesOf(panel).map((one) => ({ ...one, most: one.metric.le === '+Inf' ? Infinity : Number(one.metric.le) }));
    buckets.sort((a, b) => a.most - b.most);
    // Each counts what the smaller ones count, too.
    const cells = [];
    const below = new Map();
    buckets.forEach(({ points }, n) => {
      for (const [at, value] of points) {
        const own = value - (below.get(at) ?? 0);
        below.set(at, value);
        if (own > 1e-9) cells.push([at, n, own]);
      }
    });
    const most = Math.max(...cells.map(([, , count]) => count), 1);
    const scale = 26;
    const height = size.height - 30 - scale;
    const area = { left: 0, top: 8, width: 0, height: height - 34 };
    const each = Math.ceil(13 / (area.height / buckets.length));
    // A line at what a bucket counts at most.
    const labels = buckets.map((bucket, n) => [n + 1, bucket.most === Infinity ? '+Inf' : written(bucket.most, unit)]);
    const some = labels.filter((_, n) => (buckets.length - 1 - n) % each === 0);
    area.left = roomFor(some);
    area.width = size.width - area.left - 14;
    const svg = add(box, 'svg', { style: 'top: 28px', width: size.width, height });
    const { x, y } = axes(svg, area, given, some, buckets.length);
    const wide = (area.width / (given.to - given.from)) * given.step;
    for (const [at, n, count] of cells) {
      const place = { x: Math.max(x(at) - wide, area.left), y: y(n + 1) + 0.5, width: wide - 1, height: area.height / buckets.length - 1 };
      add(svg, 'rect', { ...place, fill: orange(count / most) });
    }
    const bar = add(box, 'svg', { 'shape-rendering': 'crispEdges', style: 'bottom: 6px', width: size.width, height: scale });
    for (let n = 0; n < 60; n += 1) add(bar, 'rect', { x: area.left + n * 4, y: 4, width: 4, height: 8, fill: orange(n / 59) });
    add(bar, 'text', { x: area.left, y: 24 }, '0');
    add(bar, 'text', { x: area.left + 240, y: 24, 'text-anchor': 'end' }, written(most, 'short'));
  }

  const KINDS = { stat, timeseries, heatmap };

  window.draw = (given) => {
    const { dashboard } = given;
    const header = document.querySelector('header');
    add(header, 'h1', {}, dashboard.title);
    for (const { label, current } of dashboard.templating.list) {
      const chosen = add(header, 'span');
      add(chosen, 'b', {}, label);
      chosen.append([current.text].flat().join());
    }
    add(header, 'span', {}, `${clock(given.from)} to ${clock(given.to)} UTC`);
    const main = document.querySelector('main');
    const column = (main.clientWidth + GAP) / COLUMNS;
    let bottom = 0;
    for (const panel of dashboard.panels) {
      const { x, y, w, h } = panel.gridPos;
      const size = { width: Math.round(w * column) - GAP, height: h * ROW - GAP };
      const place = `left: ${Math.round(x * column)}px; top: ${y * ROW}px; width: ${size.width}px; height: ${size.height}px`;
      const box = add(main, 'section', { style: place });
      add(box, 'h2', {}, panel.title);
      if (seriesOf(panel).length) KINDS[panel.type](box, panel, given, size);
      else add(box, 'div', { class: 'none' }, 'No data');
      bottom = Math.max(bottom, (y + h) * ROW);
    }
    main.style.height = `${bottom - GAP}px`;
  };
})();
