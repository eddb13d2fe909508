/** Whether a subject, as tokens, falls under a pattern with `*` and `>`. */
export function matches(pattern: readonly string[], tokens: readonly string[]): boolean {
  for (const [index, part] of pattern.entries()) {
    if (part === '>') return tokens.length > index;
    if (index >= tokens.length || (part !== '*' && part !== tokens[index])) return false;
  }
  return pattern.length === tokens.length;
}
