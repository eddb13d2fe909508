/** Text as it is, such as JSON. It scrolls in a box of its own, which the keyboard reaches. */
export const Code = ({ text }: { readonly text: string }) => (
  <pre class="code" tabIndex={0}>
    {text}
  </pre>
);
