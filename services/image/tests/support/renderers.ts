import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const programs = { qpdf: 'qpdf', pdftoppm: 'poppler-utils', pdfinfo: 'poppler-utils', mutool: 'mupdf-tools' } as const;

/** The programs that judge documents and are not installed here, as a sentence; undefined when all of them are. */
export function missingRenderers(): string | undefined {
  const missing = (Object.keys(programs) as (keyof typeof programs)[]).filter((program) => {
    return spawnSync(program, ['-v']).error !== undefined;
  });
  if (missing.length === 0) return undefined;
  const packages = new Set(missing.map((program) => programs[program]));
  return `there is no ${missing.join(', no ')} (apt-get install ${[...packages].join(' ')})`;
}

/** Who draws: two programs that share no code with each other or with us. */
export const renderers = ['poppler', 'mupdf'] as const;
export type Renderer = (typeof renderers)[number];

/** Independent programs that read the PDFs. Close it to remove their temporary folder. */
export class DocumentJudges {
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'sluice-render-'));
  #shown = 0;

  /** What `qpdf --check` has to say; empty when nothing. */
  problems(pdf: Buffer): Promise<string> {
    return this.#show(pdf, (file) =>
      run('qpdf', ['--check', file]).then(
        () => '',
        (error: Error & { stdout?: string; stderr?: string }) => `${error.stdout}${error.stderr}` || error.message,
      ),
    );
  }

  /**
   * The first page, one pixel for each of the picture, which fills it: three bytes of RGB each. Or four of CMYK, which
   * MuPDF alone can draw; renderers convert CMYK to RGB differently, so RGB cannot be compared.
   */
  draw(
    renderer: Renderer,
    pdf: Buffer,
    width: number,
    height: number,
    colours: 'rgb' | 'cmyk' = 'rgb',
  ): Promise<Buffer> {
    return this.#show(pdf, async (file) => {
      const target = `${file}.ppm`;
      if (renderer === 'poppler') await popplerDraws(file, target, width, height);
      else await mupdfDraws(file, target, width, height, colours);
      const drawn = await readFile(target);
      await rm(target);
      const pixels = drawn.subarray(headerBytes(drawn));
      if (pixels.length !== width * height * (colours === 'rgb' ? 3 : 4)) {
        throw new Error(`${renderer} drew ${pixels.length} bytes instead of ${width} x ${height} pixels`);
      }
      return pixels;
    });
  }

  async close(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #show<T>(pdf: Buffer, use: (file: string) => Promise<T>): Promise<T> {
    const file = path.join(this.#folder, `${this.#shown++}.pdf`);
    await writeFile(file, pdf);
    try {
      return await use(file);
    } finally {
      await rm(file);
    }
  }
}

async function popplerDraws(file: string, target: string, width: number, height: number): Promise<void> {
  const { stdout } = await run('pdfinfo', [file]);
  const page = /Page size:\s+(\S+) x (\S+)/.exec(stdout);
  // A hair less than a page of so many pixels. At the exact resolution Splash may round up to one pixel more and
  // resample the picture to fill it, which is why it is thought not to draw 1:1 at all.
  const resolution = (pixels: number, points: string | undefined): string =>
    String((72 * (pixels - 0.02)) / Number(points));
  const size = ['-rx', resolution(width, page?.[1]), '-ry', resolution(height, page?.[2])];
  await run('pdftoppm', ['-singlefile', ...size, file, target.slice(0, -'.ppm'.length)]);
}

async function mupdfDraws(
  file: string,
  target: string,
  width: number,
  height: number,
  colours: 'rgb' | 'cmyk',
): Promise<void> {
  // -f: exactly these pixels, also where the proportions of the page differ. -A 0: no softened edges.
  const size = ['-w', String(width), '-h', String(height), '-f'];
  const format = ['-c', colours, '-F', colours === 'rgb' ? 'ppm' : 'pam'];
  await run('mutool', ['draw', '-q', '-A', '0', ...size, ...format, '-o', target, file, '1']);
}

/** Where the pixels of a PPM or a PAM begin. */
function headerBytes(drawn: Buffer): number {
  const head = drawn.toString('latin1', 0, 200);
  return (/^P6\s+\d+\s+\d+\s+255\s/.exec(head) ?? /^P7\n[^]*?ENDHDR\n/.exec(head))?.[0].length ?? 0;
}
