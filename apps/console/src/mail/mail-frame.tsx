import { useEffect, useRef } from 'preact/hooks';

/**
 * A mail as its reader sees it. It is drawn by a page of its own (`/mail-preview`) without an origin: nothing in it runs,
 * and it reaches neither this page nor the API. The policy of this page allows no inline styles, which mails are made of.
 */
export function MailFrame({ html }: { readonly html: string }) {
  const frame = useRef<HTMLIFrameElement>(null);
  const ready = useRef(false);
  const latest = useRef(html);
  latest.current = html;
  // The frame has no origin that could be named; what is sent is what the reader of this page has written.
  const show = (): void => frame.current?.contentWindow?.postMessage({ html: latest.current }, '*');
  useEffect(() => {
    const listen = ({ source }: MessageEvent): void => {
      if (source === null || source !== frame.current?.contentWindow) return;
      ready.current = true;
      show();
    };
    addEventListener('message', listen);
    return () => removeEventListener('message', listen);
  }, []);
  useEffect(() => {
    if (ready.current) show();
  }, [html]);
  return <iframe ref={frame} class="mail" title="The mail" src="/mail-preview" sandbox="allow-scripts" />;
}
