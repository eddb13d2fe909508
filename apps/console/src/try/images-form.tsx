import type { ImageOptions, UploadProgress } from '@sluice/client';
import { useEffect, useRef, useState } from 'preact/hooks';
import { sluice } from '../api/client.ts';
import { useAction } from '../api/live.ts';
import { useNeedsKey } from '../session/session.ts';
import { CopyButton } from '../ui/copy-button.tsx';
import { bytesText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';
import { asCode, asCurl, type Asked } from './snippets.ts';
import { WatchedJob } from './watched-job.tsx';

interface Picture {
  readonly file: File;
  readonly url: string;
}

/** How far the pictures are on their way; a small one is there at once. */
const sendingText = (progress: UploadProgress | undefined): string =>
  progress === undefined || progress.totalBytes === 0
    ? 'Sending…'
    : `Sending… ${Math.floor((progress.sentBytes / progress.totalBytes) * 100)} %`;

/** Pictures to one PDF: dropped, chosen or pasted. */
export function ImagesForm({ from }: { readonly from: string | undefined }) {
  const [pictures, setPictures] = useState<readonly Picture[]>([]);
  const [options, setOptions] = useState<Readonly<Record<string, string>>>({});
  const [over, setOver] = useState(false);
  const [metadata, setMetadata] = useState<Readonly<Record<string, string>>>();
  const [progress, setProgress] = useState<UploadProgress>();
  const [sent, setSent] = useState<string>();
  const action = useAction();
  const needsKey = useNeedsKey();
  const chooser = useRef<HTMLInputElement>(null);

  const add = (files: Iterable<File>): void =>
    setPictures((before) => [...before, ...[...files].map((file) => ({ file, url: URL.createObjectURL(file) }))]);
  const remove = (url: string): void => {
    URL.revokeObjectURL(url);
    setPictures((before) => before.filter((picture) => picture.url !== url));
  };
  const all = useRef(pictures);
  all.current = pictures;
  useEffect(() => () => all.current.forEach(({ url }) => URL.revokeObjectURL(url)), []);
  useEffect(() => {
    const paste = (event: ClipboardEvent): void => add(event.clipboardData?.files ?? []);
    addEventListener('paste', paste);
    return () => removeEventListener('paste', paste);
  }, []);

  // A job that is to be run again: its pictures and options, to be changed first.
  useEffect(() => {
    if (from === undefined) return;
    void action.run(async () => {
      const before = await sluice.jobs.request(from);
      // The name is of the file, which comes along.
      const { fileName: _, ...query } = before.query;
      setOptions(query);
      setMetadata(before.metadata);
      add(await sluice.jobs.sources(from));
    });
  }, [from]);

  const query = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== ''));
  const asked: Asked = {
    path: '/v1/images',
    query,
    files: pictures.length === 0 ? ['photo.jpg'] : pictures.map(({ file }) => file.name),
  };
  const send = (): Promise<boolean> =>
    action.run(async () => {
      setProgress(undefined);
      const job = await sluice.images.convert(
        pictures.map(({ file }) => file),
        { ...(query as ImageOptions), ...(metadata === undefined ? {} : { metadata }), onProgress: setProgress },
      );
      setSent(job.id);
    });
  const set = (name: string) => (event: Event) => {
    const { value } = event.currentTarget as HTMLInputElement;
    setOptions((before) => ({ ...before, [name]: value }));
  };

  return (
    <div class="columns">
      <form
        class="panel stack"
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <div
          class={`drop ${over ? 'over' : ''}`}
          onDragOver={(event) => {
            event.preventDefault();
            setOver(true);
          }}
          onDragLeave={() => setOver(false)}
          onDrop={(event) => {
            event.preventDefault();
            setOver(false);
            add(event.dataTransfer?.files ?? []);
          }}
        >
          <p>Drop pictures here, or paste one.</p>
          <button type="button" onClick={() => chooser.current?.click()}>
            Choose files
          </button>
          <input
            ref={chooser}
            class="visually-hidden"
            type="file"
            accept="image/*"
            multiple
            aria-label="Pictures"
            tabIndex={-1}
            onChange={(event) => {
              add(event.currentTarget.files ?? []);
              event.currentTarget.value = '';
            }}
          />
          <p class="quiet">PNG, JPEG, WebP, GIF, TIFF or AVIF. Several become one PDF, a page each.</p>
        </div>
        {pictures.length > 0 && (
          <ul class="thumbs" aria-label="Chosen pictures">
            {pictures.map(({ file, url }) => (
              <li key={url}>
                <img src={url} alt="" />
                <span title={file.name}>{file.name}</span>
                <span class="quiet">{bytesText(file.size)}</span>
                <button type="button" class="plain" aria-label={`Remove ${file.name}`} onClick={() => remove(url)}>
                  Remove
                </button>
              </li>
            ))}
          </ul>
        )}
        <div class="fields">
          <label class="field">
            Quality
            <select value={options['quality'] ?? ''} onChange={set('quality')}>
              <option value="">auto</option>
              <option>lossless</option>
              <option>high</option>
              <option>low</option>
            </select>
          </label>
          <label class="field">
            Page
            <select value={options['pageSize'] ?? ''} onChange={set('pageSize')}>
              <option value="">as the image</option>
              <option>a3</option>
              <option>a4</option>
              <option>a5</option>
              <option>letter</option>
              <option>legal</option>
            </select>
          </label>
          <label class="field">
            Priority
            <select value={options['priority'] ?? ''} onChange={set('priority')}>
              <option value="">normal</option>
              <option>express</option>
            </select>
          </label>
          <label class="field">
            Width at most, pixels
            <input type="number" min="1" max="65535" value={options['maxWidth'] ?? ''} onInput={set('maxWidth')} />
          </label>
          <label class="field">
            Mail the PDF to
            <input type="email" value={options['notify'] ?? ''} placeholder="ada@example.com" onInput={set('notify')} />
          </label>
        </div>
        <div class="row">
          <button type="submit" class="first" disabled={pictures.length === 0 || action.busy}>
            {action.busy ? sendingText(progress) : 'Convert'}
          </button>
          <CopyButton text={() => asCurl(asked, location.origin, needsKey)}>Copy as curl</CopyButton>
          <CopyButton text={() => asCode(asked, location.origin, needsKey)}>Copy as code</CopyButton>
        </div>
        <ProblemNote problem={action.problem} />
      </form>
      {sent !== undefined && <WatchedJob id={sent} key={sent} />}
    </div>
  );
}
