import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

const BEYOND = 8;

/**
 * A list of any length in a box that scrolls. Only what is in view, and a few rows beyond, is in the page, so 100,000
 * rows draw as fast as 30. Rows have one height, in pixels.
 */
export function VirtualList<Item>(props: {
  readonly items: readonly Item[];
  readonly rowHeight: number;
  /** The height of the box, as CSS. A shorter list makes it shorter. */
  readonly height: string;
  readonly label: string;
  /** What stands for an item while rows come and go; its place in the list unless given, for lists that only grow. */
  readonly keyOf?: (item: Item) => string;
  readonly children: (item: Item, index: number) => ComponentChildren;
  /** Called when the end comes near. */
  readonly onNearEnd?: (() => void) | undefined;
}) {
  const { items, rowHeight, onNearEnd } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    let frame = 0;
    const look = (): void => {
      frame = 0;
      setView({ top: element.scrollTop, height: element.clientHeight });
    };
    const soon = (): void => {
      if (frame === 0) frame = requestAnimationFrame(look);
    };
    element.addEventListener('scroll', soon, { passive: true });
    const sizes = new ResizeObserver(soon);
    sizes.observe(element);
    return () => {
      cancelAnimationFrame(frame);
      element.removeEventListener('scroll', soon);
      sizes.disconnect();
    };
  }, []);
  const first = Math.max(0, Math.floor(view.top / rowHeight) - BEYOND);
  const last = Math.min(items.length, Math.ceil((view.top + view.height) / rowHeight) + BEYOND);
  const nearEnd = last >= items.length;
  useEffect(() => {
    if (nearEnd) onNearEnd?.();
  }, [nearEnd, items.length, onNearEnd]);
  const length = items.length * rowHeight;
  return (
    <div
      ref={box}
      class="virtual"
      // Reachable by keyboard: the arrow keys scroll it.
      tabIndex={0}
      role="list"
      aria-label={props.label}
      style={{ height: `min(${props.height}, ${length + 2}px)` }}
    >
      <div class="length" role="presentation" style={{ height: `${length}px` }}>
        {items.slice(first, last).map((item, offset) => {
          const index = first + offset;
          return (
            <div
              key={props.keyOf?.(item) ?? index}
              class="item"
              role="listitem"
              aria-setsize={items.length}
              aria-posinset={index + 1}
              style={{ top: `${index * rowHeight}px`, height: `${rowHeight}px` }}
            >
              {props.children(item, index)}
            </div>
          );
        })}
      </div>
    </div>
  );
}
