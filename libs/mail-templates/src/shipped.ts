import type { MailTemplateName } from '@sluice/contracts';
import type { CompiledTemplate } from './parts.ts';
import compiled from './shipped.json' with { type: 'json' };

/** The templates that are shipped, as `services/email/compile-templates.ts` made them of their sources. */
export const shippedTemplates = compiled.templates as Readonly<Record<MailTemplateName, CompiledTemplate>>;

/** The inline picture that each of them shows, referred to as `cid:logo@sluice`. */
export const logo: { readonly cid: string; readonly png: Buffer } = {
  cid: 'logo@sluice',
  png: Buffer.from(compiled.logo, 'base64'),
};

/** What each of them is shown with. */
export const shippedExamples: Readonly<Record<MailTemplateName, Readonly<Record<string, string | boolean>>>> = {
  welcome: { name: 'Ada Lovelace', actionUrl: 'https://sluice.example/start' },
  notification: {
    title: 'Nightly export finished',
    name: 'Ada',
    message:
      '1,204 records were written, 3 were skipped because they had not changed.\n\nThe next run starts at 02:00 UTC.',
    actionLabel: 'Open the report',
    actionUrl: 'https://sluice.example/reports/1204',
    unsubscribeUrl: 'https://sluice.example/unsubscribe',
  },
  'image-ready': {
    name: 'Ada',
    link: 'https://files.sluice.example/pdf/job_4f1c.pdf',
    jobId: 'job_4f1c',
    facts: '3 pages, 1.2 MB',
    expires: '22 Nov 2026, 14:30 UTC',
    attached: true,
  },
};

/** A mail as a browser can show it: the inline picture as a data URL. */
export const withLogo = (html: string): string =>
  html.replaceAll(`cid:${logo.cid}`, `data:image/png;base64,${logo.png.toString('base64')}`);
