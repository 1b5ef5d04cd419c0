// Values with their units, as Grafana writes those that the dashboards use.
(() => {
  const SI = ['', ' K', ' Mil', ' Bil'];
  const SI_BYTES = ['B', 'kB', 'MB', 'GB', 'TB'];
  const IEC_BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

  // Three digits that count, and no zeros at the end.
  const digits = (value) => {
    if (value === 0) return '0';
    const after = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)) + 1e-9));
    return String(Number(value.toFixed(Math.min(after, 6))));
  };

  const scaled = (value, base, names) => {
    let n = 0;
    while (Math.abs(value) >= base && n < names.length - 1) {
      value /= base;
      n += 1;
    }
    return [digits(value), names[n]];
  };

  const TIMES = [[86400 * 7, 'weeks'], [86400, 'days'], [3600, 'hours'], [60, 'mins'], [1, 's'], [1e-3, 'ms'], [1e-6, 'µs']];
  const time = (value) => {
    if (value === 0) return ['0', 's'];
    const [size, name] = TIMES.find(([least]) => Math.abs(value) >= least * 0.99999) ?? TIMES.at(-1);
    const number = digits(value / size);
    return [number, number === '1' && size >= 60 ? name.slice(0, -1) : name];
  };

  const count = (what) => (value) => {
    const [number, prefix] = scaled(value, 1000, SI);
    return [number + prefix, what];
  };

  // What it is, and what goes behind it in smaller letters.
  const UNITS = {
    short: count(''),
    reqps: count('req/s'),
    ops: count('ops/s'),
    percentunit: (value) => [digits(value * 100), '%'],
    s: time,
    bytes: (value) => scaled(value, 1024, IEC_BYTES),
    Bps: (value) => {
      const [number, name] = scaled(value, 1000, SI_BYTES);
      return [number, `${name}/s`];
    },
  };

  window.parts = (value, unit) => {
    if (!(unit in UNITS)) throw new Error(`nobody knows the unit ${unit}`);
    return UNITS[unit](value);
  };
  window.written = (value, unit) => {
    if (!Number.isFinite(value)) return '-';
    const [number, behind] = window.parts(value, unit);
    return behind === '%' || behind === '' ? number + behind : `${number} ${behind}`;
  };
  // The distance between the lines of an axis from 0 to `most`, of which there may be `lines`.
  window.stride = (most, unit, lines) => {
    const base = unit === 'bytes' ? 1024 : 10;
    const size = base ** Math.floor(Math.log(most / lines) / Math.log(base));
    const steps = unit === 'bytes' ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] : [1, 2, 2.5, 5, 10];
    return size * steps.find((step) => size * step * lines >= most * 0.999999);
  };
})();
