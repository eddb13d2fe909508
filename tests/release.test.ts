// What .github/workflows/release.yml publishes: it runs on a tag alone, so what can be known before is looked at here.
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}
interface Job {
  readonly needs?: string;
  readonly permissions?: Readonly<Record<string, string>>;
  readonly strategy?: {
    readonly matrix: { readonly service?: readonly string[]; readonly include?: readonly { name: string }[] };
  };
  readonly steps?: readonly Step[];
}
const { jobs, permissions } = parse(read('.github/workflows/release.yml')) as {
  jobs: Readonly<Record<string, Job>>;
  permissions: Readonly<Record<string, string>>;
};
const commands = (job: string): string => (jobs[job]?.steps ?? []).map((step) => step.run ?? '').join('\n');

describe('the release', () => {
  test('comes after every test, and a job may do what it needs alone', () => {
    expect(permissions).toEqual({ contents: 'read' });
    for (const [name, { needs }] of Object.entries(jobs)) {
      if (name !== 'test') expect(['test', 'images']).toContain(needs);
    }
  });

  test('has the image of every service, for both architectures, with provenance and SBOM', () => {
    const { strategy, steps = [] } = jobs['images'] ?? {};
    expect(strategy?.matrix.service?.toSorted()).toEqual(readdirSync(join(root, 'services')).toSorted());
    const build = steps.find(({ uses }) => uses?.startsWith('docker/build-push-action'));
    expect(build?.with).toMatchObject({
      platforms: 'linux/amd64,linux/arm64',
      provenance: 'mode=max',
      sbom: true,
      push: true,
    });
  });

  test('has every package that is not private, built, with provenance', () => {
    const published = readdirSync(join(root, 'libs')).filter(
      (name) => (JSON.parse(read(`libs/${name}/package.json`)) as { private?: boolean }).private !== true,
    );
    expect(jobs['npm']?.strategy?.matrix.include?.map(({ name }) => name).toSorted()).toEqual(published.toSorted());
    expect(commands('npm')).toContain('--provenance');
    expect(jobs['npm']?.permissions).toMatchObject({ 'id-token': 'write' });
  });

  test('has the chart, whose version is that of the packages', () => {
    expect(commands('chart')).toMatch(/helm package[\s\S]*helm push/);
    const chart = parse(read('deploy/helm/sluice/Chart.yaml')) as { version: string; appVersion: string };
    const { version } = JSON.parse(read('libs/pipeline/package.json')) as { version: string };
    expect([chart.version, chart.appVersion]).toEqual([version, version]);
  });

  test('has the digests of the images of production', () => {
    expect(commands('chart')).toMatch(
      /pnpm pin:images --out sluice-digests\.yml\n[\s\S]*gh release create .* sluice-digests\.yml/,
    );
  });

  test('has an SBOM of every dependency, as CycloneDX', async () => {
    expect(commands('chart')).toContain('pnpm sbom --lockfile-only --sbom-format cyclonedx');
    const folder = mkdtempSync(join(tmpdir(), 'sluice-sbom-'));
    try {
      const out = join(folder, 'sbom.json');
      await run('npx', ['pnpm', 'sbom', '--lockfile-only', '--sbom-format', 'cyclonedx', '--out', out], { cwd: root });
      const { bomFormat, components } = JSON.parse(readFileSync(out, 'utf8')) as {
        bomFormat: string;
        components: readonly { purl: string }[];
      };
      expect(bomFormat).toBe('CycloneDX');
      for (const name of ['@nats-io/jetstream', '@aws-sdk/client-s3', 'fastify', 'nodemailer']) {
        expect(
          components.some(({ purl }) => purl.startsWith(`pkg:npm/${encodeURIComponent(name).replace('%2F', '/')}@`)),
        ).toBe(true);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
