export { fetchPublic, FetchFailedError, type FetchSettings, type Fetched } from './fetch-public.ts';
export { addressesOf, type Resolve } from './resolve.ts';
export {
  createOutboundAgent,
  isPublicAddress,
  refusalOf,
  TargetRefused,
  type AgentSettings,
  type Targets,
} from './targets.ts';
