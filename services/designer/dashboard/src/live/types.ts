// What the designer's event stream carries. The names are those on the wire.

export interface ServiceRow {
  name: string;
  url: string;
  up: boolean;
  ready?: boolean;
  version?: string;
  since: string;
  lastError?: string;
}

export interface WorkerRow {
  id: string;
  location: { latitude: number; longitude: number };
  os: string;
  hardware: string;
  capacity: number;
  workload: number;
  Last_Heartbeat_Update: string;
  Engine?: string;
  Languages?: string[];
  Url?: string;
}

export interface BrokerRow {
  id: string;
  myURL: string;
  Last_Heartbeat_Update: string;
}

export interface MasterRow {
  id: string;
  location: { latitude: number; longitude: number };
  agent: string;
}

export type TaskState = 'scheduled' | 'pulling' | 'starting' | 'running' | 'paused' | 'failed' | 'removed';

export interface TaskRow {
  TaskID: string;
  TopologyName: string;
  TaskName: string;
  ServiceIntentID: string;
  Status: TaskState;
  Worker: string;
  ID: string;
  Reason?: string;
  Since?: string;
  Endpoint?: string;
  Restarts: number;
  Inputs: { Type: string; ID: string }[];
  Outputs: { Type: string; StreamID: string }[];
  Operator?: string;
}

export interface IntentState {
  id: string;
  status: string;
  reason?: string;
}

export interface TypedValue {
  type: string;
  value: unknown;
}

export interface EntityRow {
  id: string;
  type: string;
  attributes: Record<string, TypedValue>;
  metadata: Record<string, TypedValue>;
  updated: string;
  updates: number;
}

export interface LiveEvent {
  time: string;
  level: 'info' | 'warning' | 'error';
  about: string;
  text: string;
}

export interface Snapshot {
  generation: number;
  registry: number;
  services: ServiceRow[];
  workers: WorkerRow[];
  brokers: BrokerRow[];
  masters: MasterRow[];
  intents: IntentState[];
  tasks: TaskRow[];
  entities: EntityRow[];
  entitiesKept: number;
  events: LiveEvent[];
}

/** One event of the stream as it was received. */
export interface Frame {
  id: string;
  event: string;
  data: unknown;
}
