import { Component, type ComponentChildren } from 'preact';

interface Caught {
  readonly error?: Error;
}

/** Shows what went wrong in a screen in its place: without it, an error in one of them takes the whole page away. */
export class ErrorBoundary extends Component<{ readonly children: ComponentChildren }, Caught> {
  static override getDerivedStateFromError(error: Error): Caught {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return (
      <div class="note bad" role="alert">
        <strong>This screen could not be drawn.</strong> Reload the page. If it comes again, this is what to report:{' '}
        <code>{error.message}</code>
      </div>
    );
  }
}
