import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { live } from '../live/store';
import type { TypedValue } from '../live/types';
import { getJson } from './client';

export interface Parameter {
  name: string;
  value: string;
}
export interface DockerImage {
  operatorName: string;
  name: string;
  tag: string;
  hwType: string;
  osType: string;
  prefetched: boolean;
}
export interface Executable {
  command: string[];
  cwd?: string;
  env?: Record<string, string>;
}
export interface Code {
  language: string;
  source: string;
}
export interface Operator {
  name: string;
  description: string;
  parameters: Parameter[];
  dockerimages: DockerImage[];
  executables?: Executable[];
  code?: Code;
}
export interface InputSelector {
  selected_type: string;
  selected_attributes: string[];
  groupby: string;
  scoped: boolean;
}
export interface Task {
  name: string;
  operator: string;
  input_streams: InputSelector[];
  output_streams: { entity_type: string }[];
}
export interface Topology {
  name: string;
  description: string;
  tasks: Task[];
}
export interface Service {
  topology: Topology;
  designboard?: unknown;
}
export interface GeoScope {
  scopeType: string;
  scopeValue: unknown;
}
export interface Intent {
  id: string;
  topology: string;
  stype: string;
  priority: { exclusive: boolean; level: number };
  qos: string;
  geoscope: GeoScope;
  status?: string;
  reason?: string;
}
export interface FogFunction {
  name: string;
  topology: Topology;
  intent: Intent;
  status: string;
}
export interface Device {
  id: string;
  type: string;
  attributes: Record<string, TypedValue>;
  metadata: Record<string, TypedValue>;
  pending?: boolean;
}
export interface Subscription {
  entity_type: string;
  destination_broker: string;
  reference_url: string;
  tenant?: string;
  brokerSubscriptionId?: string;
}

interface Kinds {
  operators: Operator;
  services: Service;
  serviceintents: Intent;
  fogfunctions: FogFunction;
  devices: Device;
  subscriptions: Subscription;
}
/** The route of each kind; the keys are those of db.json and of the stream's `registry` events. */
const routes: Record<keyof Kinds, string> = {
  operators: 'operator',
  services: 'service',
  serviceintents: 'intent',
  fogfunctions: 'fogfunction',
  devices: 'device',
  subscriptions: 'subscription',
};

/** All objects of a kind, by id. Fetched once, and again when the stream tells of a change. */
export function useRegistry<K extends keyof Kinds>(kind: K) {
  return useQuery({
    queryKey: ['registry', kind],
    queryFn: () => getJson<Record<string, Kinds[K]>>(routes[kind]),
  });
}

/** Types of entities that exist. */
export function useEntityTypes() {
  return useQuery({
    queryKey: ['types'],
    queryFn: () => getJson<string[]>('info/type'),
    staleTime: 5000,
    retry: false,
  });
}

/** Fetches again what the stream says has changed. */
export function useRegistryEvents(): void {
  const client = useQueryClient();
  useEffect(
    () =>
      live.onRegistry((kind) =>
        client.invalidateQueries({ queryKey: kind === '*' ? ['registry'] : ['registry', kind] }),
      ),
    [client],
  );
}
