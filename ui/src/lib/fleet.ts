import type { Consumer, Fleet, Worker } from '../api/fleet.types';
import type { Tone } from '../components/Tone';

/** The consumer that carries decisions into ClickHouse, told by its name. */
export function sinkOf(fleet: Fleet): Consumer | undefined {
  const consumers = fleet.nats.audit?.consumers ?? [];
  return (
    consumers.find(({ name }) => name.includes('decision')) ??
    consumers.find(({ name }) => name.includes('sink')) ??
    consumers[0]
  );
}

export interface Health {
  tone: Tone;
  label: string;
  details: string[];
}

export function healthOf(worker: Worker, workers: Worker[]): Health {
  const details = [...worker.problems];
  const newest = Math.max(...workers.map(({ sequence }) => sequence));
  if (worker.audit.given_up > 0)
    details.push(`${worker.audit.given_up} events could never be stored.`);
  if (worker.audit.stuck) details.push('The stream does not take what waits to be recorded.');
  if (details.length > 0) return { tone: 'deny', label: 'Problem', details };
  if (worker.sequence < newest) {
    return {
      tone: 'shadow',
      label: 'Behind',
      details: ['Has not taken in the newest policies yet.'],
    };
  }
  if (worker.audit.waiting > 0) {
    return {
      tone: 'shadow',
      label: 'Catching up',
      details: [`${worker.audit.waiting} events wait to be sent again.`],
    };
  }
  return { tone: 'good', label: 'Healthy', details: [] };
}
