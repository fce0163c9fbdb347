// What a dashboard in Grafana's classic model must look like: `@grafana/schema`'s types, as JSON spells them. There enums are their
// values and a panel's options, which `Panel` leaves open, are those of its type. Read by scripts/check-monitoring.sh.
import type { Dashboard, DataQuery, FieldConfig, Panel, RowPanel } from "@grafana/schema";
import type * as Heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type * as Stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as StateTimeline from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as TimeSeries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// `${Enum}` is the union of an enum's values, `${string}` is string.
type Json<T> = T extends string ? `${T}` : T extends object ? { [Key in keyof T]: Json<T[Key]> } : T;

// The schema package has no type for a query of Prometheus: this is what the panels here use of it.
interface Query extends Required<Pick<DataQuery, "refId">> {
  expr: string;
  legendFormat: string;
  range: boolean;
  instant?: boolean;
  format?: "heatmap";
}

type PanelOf<Type extends string, Options, Custom> = Json<
  Omit<Panel, "type" | "title" | "description" | "options" | "targets" | "fieldConfig"> &
    Required<Pick<Panel, "id" | "title" | "description" | "gridPos" | "datasource">>
> & {
  type: Type;
  options: Json<Options>;
  targets: Query[];
  fieldConfig: {
    defaults: Json<Omit<FieldConfig, "custom">> & { custom?: Json<Custom> };
    overrides: Json<NonNullable<Panel["fieldConfig"]>["overrides"]>;
  };
};

type AnyPanel =
  | PanelOf<"timeseries", TimeSeries.Options, TimeSeries.FieldConfig>
  | PanelOf<"stat", Stat.Options, never>
  | PanelOf<"state-timeline", StateTimeline.Options, StateTimeline.FieldConfig>
  | PanelOf<"heatmap", Heatmap.Options, Heatmap.FieldConfig>;

type Row = Json<Omit<RowPanel, "panels">> & { panels: AnyPanel[] };

export type ClassicDashboard = Json<Omit<Dashboard, "panels">> & { panels: (AnyPanel | Row)[] };
