// Draws one board with Grafana's own components, as it stands in the JSON, from Prometheus'
// answers. What a Grafana server adds is done here: legends by name, a table of several answers.
import {
  applyFieldOverrides,
  createTheme,
  dateTime,
  EventBusSrv,
  FieldType,
  FieldConfigOptionsRegistry,
  getFieldDisplayValues,
  toDataFrame,
} from '@grafana/data';
import {
  BigValue,
  GlobalStyles,
  PanelChrome,
  PanelContextProvider,
  Table,
  ThemeContext,
  TimeSeries,
} from '@grafana/ui';
import React from 'react';
import { createRoot } from 'react-dom/client';

const WIDTH = 1200;
const ROW = 30;
const CELL = 38; // Grafana's 30 and a gap of 8
const GAP = 8;
const COLUMNS = 24;

const theme = createTheme({ colors: { mode: 'dark' } });
// The options that our boards use, taken as they are; Grafana's own registry is not in the package.
const OPTIONS = ['unit', 'min', 'max', 'decimals', 'thresholds', 'color', 'links', 'mappings'];
const registry = new FieldConfigOptionsRegistry(() =>
  OPTIONS.map((id) => ({
    id,
    path: id,
    name: id,
    process: (value) => value,
    shouldApply: () => true,
  }))
);

const { board, span, variables, results, annotations } = await (await fetch('board.json')).json();
const range = {
  from: dateTime(span.start * 1000),
  to: dateTime(span.end * 1000),
  raw: { from: dateTime(span.start * 1000), to: dateTime(span.end * 1000) },
};

const filled = (legend, labels) =>
  legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '');

const byItself = (labels) => {
  const { __name__: name = '', ...rest } = labels;
  const pairs = Object.entries(rest).map(([key, value]) => `${key}="${value}"`);
  return name + (pairs.length ? `{${pairs.join(', ')}}` : '') || 'Value';
};

const named = (legend, labels) =>
  legend === '__auto' || !legend ? byItself(labels) : filled(legend, labels);

// A line breaks where Prometheus has no value for more than one step.
function points(values) {
  const there = new Map(
    values.filter(([, text]) => text !== 'NaN').map(([at, text]) => [Math.round(at), Number(text)])
  );
  const times = [];
  for (let at = span.start; at <= span.end; at += span.step) times.push(at);
  return {
    times: times.map((at) => at * 1000),
    values: times.map((at) => there.get(at) ?? null),
  };
}

// Grafana's graphs colour their lines by this if they are not told otherwise.
const LINES = { color: { mode: 'palette-classic' } };

function overridden(panel, frames) {
  const { defaults, overrides } = panel.fieldConfig;
  const own = panel.type === 'timeseries' ? LINES : {};
  return applyFieldOverrides({
    data: frames,
    fieldConfig: { defaults: { ...own, ...defaults }, overrides },
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
    fieldConfigRegistry: registry,
  });
}

function lines(panel) {
  const frames = results[panel.id].flatMap((answer, number) =>
    answer.map(({ metric, values }) => {
      const { times, values: numbers } = points(values);
      const name = named(panel.targets[number].legendFormat, metric);
      const all = panel.fieldConfig.defaults;
      const config = { displayNameFromDS: name, custom: all.custom, min: all.min };
      return toDataFrame({
        refId: panel.targets[number].refId,
        fields: [
          { name: 'Time', type: FieldType.time, values: times },
          { name: 'Value', type: FieldType.number, values: numbers, labels: metric, config },
        ],
      });
    })
  );
  const found = overridden(panel, frames);
  for (const frame of found) frame.fields[1].config.custom = panel.fieldConfig.defaults.custom;
  return found;
}

// What Grafana's "merge" and "organize" make of several answers: a row for each set of labels.
function table(panel) {
  const organize = panel.transformations.find((one) => one.id === 'organize').options;
  const alone = results[panel.id].length === 1;
  const titles = panel.targets.map(({ refId }) => (alone ? 'Value' : `Value #${refId}`));
  const rows = new Map();
  const labels = new Set();
  results[panel.id].forEach((answer, number) => {
    const title = titles[number];
    for (const { metric, value } of answer) {
      const key = JSON.stringify(metric);
      Object.keys(metric).forEach((name) => labels.add(name));
      rows.set(key, { ...(rows.get(key) ?? metric), [title]: Number(value[1]) });
    }
  });
  const place = (name) => organize.indexByName[name] ?? COLUMNS;
  const shown = [...labels, ...titles]
    .filter((name) => !organize.excludeByName[name])
    .sort((one, other) => place(one) - place(other));
  const fields = shown.map((name) => ({
    name: organize.renameByName[name] || name,
    type: labels.has(name) ? FieldType.string : FieldType.number,
    values: [...rows.values()].map((row) => row[name] ?? null),
    config: {},
  }));
  const found = overridden(panel, [toDataFrame({ fields })])[0];
  const { custom } = panel.fieldConfig.defaults;
  for (const field of found.fields) field.config.custom = { ...custom, ...field.config.custom };
  return found;
}

function Marks({ builder }) {
  builder.addHook('draw', (plot) => {
    const { ctx, bbox } = plot;
    for (const { color, result } of annotations) {
      const paint = theme.visualization.getColorByName(color);
      for (const { values } of result) {
        let last = 0;
        for (const [at] of values) {
          const fresh = at - last > span.step;
          last = at;
          if (!fresh) continue;
          const x = plot.valToPos(at * 1000, 'x', true);
          ctx.save();
          ctx.strokeStyle = paint;
          ctx.lineWidth = 1;
          ctx.setLineDash([3, 3]);
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
          ctx.restore();
        }
      }
    }
  });
  return null;
}

const Nothing = () => (
  <div style={{ color: theme.colors.text.secondary, textAlign: 'center', paddingTop: '20%' }}>
    No data
  </div>
);

function Stat({ panel, width, height }) {
  const [display] = getFieldDisplayValues({
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text) => text,
    theme,
    data: lines(panel),
    sparkline: true,
    timeZone: 'utc',
  });
  if (!display) return <Nothing />;
  return (
    <BigValue
      width={width}
      height={height}
      value={{ ...display.display, title: undefined }}
      sparkline={display.sparkline}
      colorMode={panel.options.colorMode}
      graphMode={panel.options.graphMode}
      textMode="value"
      theme={theme}
    />
  );
}

function Content({ panel, width, height }) {
  if (!results[panel.id].some((answer) => answer.length)) return <Nothing />;
  if (panel.type === 'stat') return <Stat panel={panel} width={width} height={height} />;
  if (panel.type === 'table')
    return <Table data={table(panel)} width={width} height={height} cellHeight="sm" />;
  return (
    <TimeSeries
      frames={lines(panel)}
      timeRange={range}
      timeZone="utc"
      legend={panel.options.legend}
      width={width}
      height={height}
    >
      {(builder) => <Marks builder={builder} />}
    </TimeSeries>
  );
}

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const unit = (WIDTH + GAP) / COLUMNS;
  const place = { position: 'absolute', left: x * unit, top: y * CELL };
  const width = w * unit - GAP;
  const height = h * CELL - GAP;
  if (panel.type === 'row')
    return (
      <div style={{ ...place, height: ROW, lineHeight: `${ROW}px`, fontWeight: 500, fontSize: 16 }}>
        {panel.title}
      </div>
    );
  return (
    <div style={{ ...place, width, height }}>
      <PanelChrome
        width={width}
        height={height}
        title={panel.title}
        description={panel.description}
        padding={panel.type === 'timeseries' ? 'md' : 'none'}
      >
        {(innerWidth, innerHeight) => (
          <Content panel={panel} width={innerWidth} height={innerHeight} />
        )}
      </PanelChrome>
    </div>
  );
}

const Variable = ({ label, text }) => (
  <span style={{ marginRight: 12, fontSize: 12 }}>
    <span style={{ ...boxed, background: theme.colors.background.secondary }}>{label}</span>
    <span style={{ ...boxed, background: theme.colors.background.canvas }}>{text}</span>
  </span>
);
const boxed = { border: `1px solid ${theme.colors.border.medium}`, padding: '5px 8px' };

function Board() {
  const bottom = Math.max(...board.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  return (
    <div id="board" style={{ width: WIDTH, padding: 16 }}>
      <h1 style={{ fontSize: 18, fontWeight: 500, margin: '0 0 12px' }}>{board.title}</h1>
      <div style={{ marginBottom: 16 }}>
        {variables.map((one) => (
          <Variable key={one.name} label={one.label} text={one.text} />
        ))}
        <span style={{ float: 'right', fontSize: 12, color: theme.colors.text.secondary }}>
          {range.from.toISOString()} – {range.to.toISOString()}
        </span>
      </div>
      <div style={{ position: 'relative', height: bottom * CELL }}>
        {board.panels.map((panel) => (
          <Panel key={panel.id} panel={panel} />
        ))}
      </div>
    </div>
  );
}

const context = { eventBus: new EventBusSrv(), eventsScope: 'global' };

document.body.style.cssText = `margin: 0; background: ${theme.colors.background.canvas};
  color: ${theme.colors.text.primary}; font-family: Inter, sans-serif; font-size: 14px`;
createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <PanelContextProvider value={context}>
      <Board />
    </PanelContextProvider>
  </ThemeContext.Provider>
);
