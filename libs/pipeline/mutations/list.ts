// What is broken on purpose: a piece of text in a file of `src`, and what to put in its place.
import { handling } from './handling.ts';
import { headers } from './headers.ts';
import type { Mutation } from './mutation.ts';
import { pulling } from './pulling.ts';
import { replicas } from './replicas.ts';
import { settling } from './settling.ts';

export const mutations: readonly Mutation[] = [...settling, ...handling, ...pulling, ...replicas, ...headers];
