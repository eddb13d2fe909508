import type { Mutation } from './mutation.ts';

/** Rules of headers that are read without parsing them all, and of series of metrics that are found once. */
export const headers: readonly Mutation[] = [
  {
    file: 'nats/readable-headers',
    rule: 'a header has the whole name',
    from: 'same === length && block[at + length] === COLON',
    to: 'same === length',
  },
  {
    file: 'nats/readable-headers',
    rule: 'the first line of a block is no header',
    from: 'let at = lineAfter(block, 0, end); at + length < end',
    to: 'let at = 0; at + length < end',
  },
  {
    file: 'nats/readable-headers',
    rule: 'a value ends with its line',
    from: `  let to = from;
  while (to < end && block[to] !== CR) to += 1;
  return Buffer`,
    to: `  const to = end;
  return Buffer`,
  },
  {
    file: 'nats/readable-headers',
    rule: 'a name in another spelling may be there',
    from: 'placeOf(buffer, end, name, TO_LOWER_CASE) < 0',
    to: 'placeOf(buffer, end, name, 0) < 0',
  },
  {
    file: 'otel/propagation',
    rule: 'a trace that is sampled is not passed over',
    from: 'block[from + FLAGS + 1] === ZERO &&',
    to: '',
  },
  {
    file: 'otel/propagation',
    rule: 'an id of zeros is none',
    from: 'return !isZero;',
    to: 'return true;',
  },
  {
    file: 'process/processor',
    rule: 'a handler that throws at once leaves its trace headers',
    from: `    } catch (error) {
      return failed(error);
    }`,
    to: `    } catch (error) {
      return Promise.reject(error as Error);
    }`,
  },
  {
    file: 'prometheus/series',
    rule: 'buckets add up',
    from: 'value: (upTo += count)',
    to: 'value: count',
  },
  {
    file: 'prometheus/series',
    rule: 'what a scrape took is not taken again',
    from: 'each.pending = 0;',
    to: '',
  },
  {
    file: 'prometheus/series',
    rule: 'a bound belongs to its bucket',
    from: 'value > (bounds[at] as number)',
    to: 'value >= (bounds[at] as number)',
  },
];
