import { contractFiles } from './files/contract.ts';
import { dashboardFiles } from './files/dashboard.ts';
import { gatewayFiles } from './files/gateway.ts';
import { serviceFiles } from './files/service.ts';
import { workFiles } from './files/work.ts';
import type { KindNames } from './names.ts';

/** The files of a new service, by their path: its contract, the service with its test, the gateway's rules and route. */
export const filesOf = (names: KindNames): Readonly<Record<string, string>> => ({
  ...contractFiles(names),
  ...serviceFiles(names),
  ...workFiles(names),
  ...gatewayFiles(names),
  ...dashboardFiles(names),
});
