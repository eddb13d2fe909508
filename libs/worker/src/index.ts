export { joinBus, type Worker, type WorkerContext } from './worker.ts';
