const palette = [
  '#3b82c4',
  '#d9822b',
  '#3f9c5a',
  '#a85cb5',
  '#c24a57',
  '#4aa3a8',
  '#8a7340',
  '#6b6fd0',
  '#7a8794',
  '#b8568c',
];

/** A colour for each name, in order of appearance, the same within a page. */
export function colourOf(names: readonly string[], name: string): string {
  return palette[Math.max(0, names.indexOf(name)) % palette.length] ?? '#888';
}
