export { createWorker, type Worker, type WorkerContext } from './worker.ts';
