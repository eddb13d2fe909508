import t from '@bomb.sh/tab';

export const shells = ['bash', 'zsh', 'fish'] as const;

/** What the script for bash uses of the package bash-completion, which a system may not have. */
const BASH = `type _get_comp_words_by_ref &>/dev/null || _get_comp_words_by_ref() {
    words=("\${COMP_WORDS[@]}"); cword=$COMP_CWORD
    cur=\${COMP_WORDS[COMP_CWORD]}; prev=\${COMP_WORDS[COMP_CWORD - 1]}
}
`;

/** Prints the script that a shell reads once; it calls `program complete -- WORDS`. */
export function printCompletionScript(shell: (typeof shells)[number], program: string): void {
  if (shell === 'bash') process.stdout.write(BASH);
  t.setup('sluice', program, shell);
}
