import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

/** Asks before something that cannot be taken back. Escape and Cancel leave everything as it is. */
export function Confirm(props: {
  readonly title: string;
  readonly action: string;
  readonly danger?: boolean;
  readonly busy?: boolean;
  readonly children: ComponentChildren;
  readonly onConfirm: () => void;
  readonly onCancel: () => void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    // Closed before it is taken out of the page: the focus goes back to the button that asked.
    return () => {
      element?.close();
      // That button may be gone with what it was about: then the focus is on the screen, and not nowhere.
      setTimeout(() => {
        if (document.activeElement === document.body)
          document.getElementById('content')?.focus({ preventScroll: true });
      });
    };
  }, []);
  return (
    <dialog ref={dialog} onClose={props.onCancel} aria-labelledby="confirm-title">
      <div class="stack">
        <h2 id="confirm-title">{props.title}</h2>
        <div>{props.children}</div>
        <div class="row">
          <button
            type="button"
            class={props.danger === true ? 'danger' : 'first'}
            disabled={props.busy === true}
            onClick={props.onConfirm}
          >
            {props.action}
          </button>
          <button type="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
        </div>
      </div>
    </dialog>
  );
}
