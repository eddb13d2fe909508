/** A number with its name. */
export function Tile({ name, value }: { readonly name: string; readonly value: string }) {
  return (
    <div class="tile">
      <span class="quiet">{name}</span>
      <strong>{value}</strong>
    </div>
  );
}
