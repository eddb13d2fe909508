import { useState } from 'preact/hooks';

/** Copies a text. Where the browser refuses the clipboard (http on another machine), it is selected in a prompt instead. */
export function CopyButton({ text, children }: { readonly text: () => string; readonly children: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text());
      setCopied(true);
      setTimeout(() => setCopied(false), 2_000);
    } catch {
      prompt('Copy this text:', text());
    }
  };
  return (
    <button type="button" onClick={() => void copy()}>
      {copied ? 'Copied' : children}
      <span class="visually-hidden" role="status">
        {copied ? 'Copied to the clipboard' : ''}
      </span>
    </button>
  );
}
