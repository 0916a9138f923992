import type { Finding } from './types';

/** An RFC 9457 problem, or a server that can't be reached (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly findings: Finding[] = [],
    readonly currentVersion: number | null = null,
    readonly field: string | null = null,
    /** Seconds until it is worth another try. */
    readonly retryAfter: number | null = null,
  ) {
    super(detail || title);
    this.name = 'ApiError';
  }
}

/** The version that a policy has by now, where a change started from another one. */
export function overtakenBy(error: unknown): number | null {
  return error instanceof ApiError && error.status === 412 ? error.currentVersion : null;
}

interface Options {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  body?: unknown;
  /** The version that the change starts from. */
  ifMatch?: number;
  signal?: AbortSignal;
}

export type Query = Record<string, string | number | boolean | undefined>;

/** A path of the API with its query; empty values are left out. */
export function apiPath(path: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') search.set(key, String(value));
  }
  const text = search.toString();
  return `/api${path}${text ? `?${text}` : ''}`;
}

export async function request<T>(url: string, options: Options = {}): Promise<T> {
  return (await (await send(url, options)).json()) as T;
}

/** Why the server refuses what the browser asks for by itself; null where it does not. */
export async function refusalOf(url: string, signal: AbortSignal): Promise<Error | null> {
  try {
    const response = await send(url, { signal });
    // The answer goes on for ever.
    await response.body?.cancel();
    return null;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

async function send(url: string, options: Options): Promise<Response> {
  const headers: Record<string, string> = {
    Accept: 'application/json',
    // Proof against forged requests: a form of another site can't set a header.
    'X-Sluicegate-Console': '1',
  };
  if (options.body !== undefined) headers['Content-Type'] = 'application/json';
  if (options.ifMatch !== undefined) headers['If-Match'] = `"${options.ifMatch}"`;
  const init: RequestInit = {
    method: options.method ?? 'GET',
    headers,
    credentials: 'same-origin',
  };
  if (options.body !== undefined) init.body = JSON.stringify(options.body);
  if (options.signal) init.signal = options.signal;
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(
      0,
      'The server does not answer',
      'The console cannot reach its server. It may be restarting; this page tries again by itself.',
    );
  }
  if (response.ok) return response;
  throw await problem(response);
}

async function problem(response: Response): Promise<ApiError> {
  const fallback = `The server answered ${response.status} ${response.statusText}`.trim();
  try {
    const body = (await response.json()) as Record<string, unknown>;
    return new ApiError(
      response.status,
      text(body['title']) || fallback,
      text(body['detail']),
      Array.isArray(body['findings']) ? (body['findings'] as Finding[]) : [],
      typeof body['current_version'] === 'number' ? body['current_version'] : null,
      text(body['field']) || null,
      Number(response.headers.get('Retry-After')) || null,
    );
  } catch {
    return new ApiError(response.status, fallback, '');
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
