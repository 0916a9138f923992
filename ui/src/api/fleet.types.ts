// What /api/stats/fleet says of workers, NATS and ClickHouse. The server's description calls it an
// object, "as `sluicegate status --json`", and types none of its members: so they are written down
// here, and only what the description has as well comes from there.
import type { EnforcementMode } from './types';

export interface Worker {
  name: string;
  version: string;
  revision: string;
  sequence: number;
  policies: number;
  taking_part: number;
  enforcement: EnforcementMode;
  problems: string[];
  started_at: string;
  reported_at: string;
  audit: {
    acknowledge: string;
    on_unavailable: string;
    numbered: number;
    recorded: number;
    kept: number;
    waiting: number;
    spilled_bytes: number;
    spill_max_bytes: number;
    memory_only: boolean;
    stuck: boolean;
    given_up: number;
  };
}

export interface Place {
  sequence: number;
  time: string;
}

export interface Consumer {
  name: string;
  pending: number;
  unacknowledged: number;
  redelivered: number;
  active: boolean;
  settled: number;
}

export interface Stream {
  name: string;
  messages: number;
  bytes: number;
  max_bytes: number | null;
  max_age_seconds: number | null;
  first: Place | null;
  last: Place | null;
  replicas: number;
  lagging: string[];
  consumers: Consumer[];
}

export interface Calls {
  checked: number;
  unchecked: number;
  causes: Record<string, number>;
  would_deny: number;
}

export interface Fleet {
  at: string;
  nats: {
    url: string;
    audit: Stream | null;
    audit_expected_bytes: number | null;
    dead_letters: Stream | null;
    policies: Stream | null;
  };
  workers: Worker[];
  clickhouse: {
    url: string;
    version: string;
    unavailable: string | null;
    tables: {
      name: string;
      rows: number;
      bytes: number;
      parts: number;
      span: [string, string] | null;
      rows_last_day: number | null;
    }[];
    keep_decisions_seconds: number;
    keep_violations_seconds: number;
    keep_outcomes_seconds: number;
    coverage: { last_hour: Calls; last_day: Calls } | null;
    disks: { name: string; free: number; total: number }[];
  };
  attention: { about: string; message: string }[];
}
