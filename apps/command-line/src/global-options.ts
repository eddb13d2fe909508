import type { Option } from './command.ts';

/** Options of every command. */
export const globalOptions: readonly Option[] = [
  { flags: '--json', summary: 'print JSON for programs, one value a line' },
  { flags: '--url <url>', summary: 'the address of the API; SLUICE_URL otherwise, or what `pnpm dev` runs here' },
  { flags: '--port-offset <n>', summary: 'which system of `pnpm dev`, when several run' },
];
