import { openAsBlob } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import type { ImageOptions, Job, NewEmail, NewJobOptions } from '@sluice/client';
import type { Command, Option, Typed } from '../command.ts';
import type { Context } from '../context.ts';
import { CommandError } from '../errors.ts';
import { bytes } from '../output.ts';
import { describeJob, throwUnlessSucceeded } from './jobs.ts';

const PRIORITIES = ['normal', 'express'] as const;
/** What every command that makes jobs takes. */
const newJobOptions: readonly Option[] = [
  {
    flags: '--priority <priority>',
    summary: 'normal unless given; express jobs are taken before all normal ones',
    choices: PRIORITIES,
  },
  {
    flags: '--key <key>',
    summary: 'idempotency key: sent again within 24 hours with the same request, it makes no second job',
  },
  { flags: '--wait', summary: 'wait until the job has ended; exit with 5 unless it succeeded' },
];

export const newJobCommands: readonly Command[] = [
  {
    name: 'image',
    summary: 'Convert images to PDF, a job and a PDF for each',
    detail:
      'With --one the images become the pages of one PDF, in their order. Prints each job; with --out it waits and saves scan.png as scan.pdf.',
    arguments: [
      {
        name: 'file',
        summary: 'an image: PNG, JPEG, GIF, WebP, TIFF or AVIF, by its content and not by its name',
        variadic: true,
        isFile: true,
      },
    ],
    options: [
      ...newJobOptions,
      {
        flags: '-o, --out <folder>',
        summary: 'save each PDF in this folder, which has to be there; implies --wait',
        isFile: true,
      },
      { flags: '--one', summary: 'put all images into one PDF, one page for each' },
      {
        flags: '--quality <quality>',
        summary: 'auto unless given: lossless, or JPEG where the image was lossy before',
        choices: ['auto', 'lossless', 'high', 'low'],
      },
      {
        flags: '--page-size <size>',
        summary: 'image unless given: each page as large as its image',
        choices: ['image', 'a3', 'a4', 'a5', 'letter', 'legal'],
      },
      { flags: '--max-width <pixels>', summary: 'make wider images smaller', as: 'count' },
      { flags: '--max-height <pixels>', summary: 'make higher images smaller', as: 'count' },
      {
        flags: '--strip-metadata',
        summary: 'ignore the density of the images, and keep nothing of a profile but its colours',
      },
      { flags: '--notify <address>', summary: 'mail the PDF to this address' },
    ],
    examples: [
      'image samples/photo.jpg --wait',
      'image samples/*.png --wait --out .',
      'image --one samples/scan.png samples/photo.jpg --out out',
    ],
    run: convertImages,
  },
  {
    name: 'email',
    summary: 'Send a mail from a template',
    detail: 'Prints the job. `sluice open mail` shows what `pnpm dev` has sent.',
    arguments: [{ name: 'address', summary: 'who gets it, such as ada@example.com' }],
    options: [
      {
        flags: '--template <name>',
        summary: 'welcome, notification, image-ready, or one that the account has written',
        default: 'notification',
      },
      {
        flags: '--set <name=value>',
        summary: 'a variable of the template; may be repeated. notification takes title and message, welcome name',
        repeated: true,
      },
      { flags: '--reply-to <address>', summary: 'where answers to the mail go' },
      ...newJobOptions,
    ],
    examples: [
      'email ada@example.com --template welcome --set name=Ada --wait',
      'email ada@example.com --set title=Done --set message="It is ready"',
    ],
    async run(context, typed) {
      const [to = ''] = typed.words;
      const replyTo = typed.text('replyTo');
      const email = {
        to,
        template: typed.text('template') as NewEmail['template'],
        variables: variablesOf(typed.texts('set')),
        ...(replyTo === undefined ? {} : { replyTo }),
        ...priorityOf(typed),
      };
      await finish(context, typed, await context.sluice.emails.send(email, callOf(context, typed)));
    },
  },
  {
    name: 'user',
    summary: 'Create a user, who gets the welcome mail',
    arguments: [
      { name: 'name', summary: 'as the mail greets them; in quotes when it has spaces' },
      { name: 'address', summary: 'who gets the mail, such as ada@example.com' },
    ],
    options: newJobOptions,
    examples: ['user Ada ada@example.com', 'user "Grace Hopper" grace@example.com --wait'],
    async run(context, typed) {
      const [name = '', email = ''] = typed.words;
      await finish(
        context,
        typed,
        await context.sluice.users.create({ name, email, ...priorityOf(typed) }, callOf(context, typed)),
      );
    },
  },
];

const priorityOf = (typed: Typed) => {
  const priority = typed.text('priority') as (typeof PRIORITIES)[number] | undefined;
  return priority === undefined ? {} : { priority };
};
const callOf = ({ signal }: Context, typed: Typed): NewJobOptions => ({ signal, idempotencyKey: typed.text('key') });

function variablesOf(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new CommandError('usage', `--set ${pair} is not NAME=VALUE`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

async function finish({ sluice, signal, output }: Context, typed: Typed, job: Job): Promise<void> {
  const shown = typed.flag('wait') ? await sluice.jobs.waitFor(job, { signal }) : job;
  output.json(shown);
  output.print(describeJob(shown));
  if (typed.flag('wait')) throwUnlessSucceeded([shown]);
}

async function convertImages(context: Context, typed: Typed): Promise<void> {
  const { output, sluice, signal, directory } = context;
  const files = await Promise.all(typed.words.map((path) => imageAt(resolve(directory, path), path)));
  const groups = typed.flag('one') ? [files] : files.map((file) => [file]);
  const folder = typed.text('out');
  if (folder !== undefined) await checkFolder(resolve(directory, folder), folder);
  const names = folder === undefined ? [] : pdfNames(groups.map(([first]) => first?.path ?? ''));
  const waits = typed.flag('wait') || folder !== undefined;
  if (groups.length > 1 && typed.text('key') !== undefined) {
    throw new CommandError('usage', '--key is for one job: give one image, or --one');
  }
  const totalBytes = files.reduce((sum, { blob }) => sum + blob.size, 0);
  const uploads = output.progress('sending', 'bytes');
  let sentBefore = 0;
  const jobs: { job: Job; out: string | undefined }[] = [];
  for (const group of groups) {
    const job = await sluice.images.convert(
      group.map(({ blob }) => blob),
      {
        ...optionsOf(typed),
        ...callOf(context, typed),
        onProgress: ({ sentBytes }) => uploads.set(sentBefore + sentBytes, totalBytes),
      },
    );
    sentBefore += group.reduce((sum, { blob }) => sum + blob.size, 0);
    const name = names[jobs.length];
    jobs.push({ job, out: folder === undefined || name === undefined ? undefined : join(folder, name) });
    if (!waits) {
      uploads.end();
      output.json(job);
      output.print(`${describeJob(job)}  ${group.map(({ path }) => path).join(', ')}`);
    }
  }
  uploads.end();
  if (!waits) return;
  const work = output.progress('working');
  const ended: Job[] = [];
  // In the order of the files: the jobs run side by side, and each is asked for as soon as the one before has ended.
  for (const { job, out } of jobs) {
    work.set(ended.length, jobs.length);
    const done = await sluice.jobs.waitFor(job, { signal });
    ended.push(done);
    const saved = out !== undefined && done.state === 'succeeded' ? await save(context, done, out) : '';
    work.end();
    output.json(done);
    output.print(`${describeJob(done)}${saved}`);
  }
  throwUnlessSucceeded(ended);
}

function optionsOf(typed: Typed): ImageOptions {
  const { text, number, flag } = typed;
  const options = {
    ...priorityOf(typed),
    quality: text('quality') as 'auto' | undefined,
    pageSize: text('pageSize') as 'a4' | undefined,
    maxWidth: number('maxWidth'),
    maxHeight: number('maxHeight'),
    notify: text('notify'),
    stripMetadata: flag('stripMetadata') ? true : undefined,
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as ImageOptions;
}

async function save({ sluice, signal, directory }: Context, job: Job, path: string): Promise<string> {
  const pdf = await sluice.jobs.pdf(job, { signal });
  await writeFile(resolve(directory, path), pdf.stream());
  return `  ${path} (${bytes(pdf.size)})`;
}

async function imageAt(file: string, path: string) {
  const found = await stat(file).catch((error: NodeJS.ErrnoException) => {
    throw new CommandError('usage', `${path} cannot be read (${error.code})`);
  });
  if (!found.isFile()) throw new CommandError('usage', `${path} is no file`);
  const blob = new File([await openAsBlob(file)], basename(file));
  return { path, blob };
}

async function checkFolder(folder: string, path: string): Promise<void> {
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory() !== true)
    throw new CommandError('usage', `--out ${path} is no folder: make it with mkdir first`);
}

/**
 * What the PDFs of images are called: `scan.pdf` of `scan.png`, and `scan.png.pdf` where a `scan.jpg` is there as well.
 *
 * @throws {CommandError} when two would be the same, and one of them lost.
 */
export function pdfNames(paths: readonly string[]): string[] {
  const short = paths.map((path) => basename(path, extname(path)));
  const names = paths.map((path, index) => {
    const isOnly = short.filter((name) => name === short[index]).length === 1;
    return `${isOnly ? short[index] : basename(path)}.pdf`;
  });
  const twice = names.findIndex((name, index) => names.indexOf(name) !== index);
  if (twice === -1) return names;
  const [first, second] = [paths[names.indexOf(names[twice] ?? '')], paths[twice]];
  throw new CommandError('usage', `${first} and ${second} would both be saved as ${names[twice]}: convert them apart`);
}
