// What /api/stats/overview counts in a time range.

export interface TimelinePoint {
  at: string;
  allow: number;
  deny: number;
  would_deny: number;
  error: number;
  unchecked: number;
  p50_us: number | null;
  p95_us: number | null;
  p99_us: number | null;
}

export interface Overview {
  since: string;
  until: string;
  bucket_seconds: number;
  timeline: TimelinePoint[];
  totals: {
    decisions: number;
    allow: number;
    deny: number;
    would_deny: number;
    error: number;
    unchecked: number;
    coverage: number | null;
    estimated_cost_usd: number | null;
    actual_cost_usd: number | null;
    p50_us: number | null;
    p95_us: number | null;
    p99_us: number | null;
  };
  policies: { policy: string; denials: number }[];
  reasons: { reason: string; denials: number }[];
  agents: { agent: string; decisions: number; denials: number }[];
  actions: { action: string; decisions: number; denials: number }[];
  sessions: {
    session_id: string;
    decisions: number;
    denials: number;
    estimated_cost_usd: number | null;
  }[];
}
