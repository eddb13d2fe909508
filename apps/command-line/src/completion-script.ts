import t from '@bomb.sh/tab';

export const shells = ['bash', 'zsh', 'fish'] as const;

/**
 * For bash a script of our own: it needs no package, can be read twice, leaves names of files to the shell where a command
 * takes them, and does not run what was typed.
 */
const bashScript = (program: string): string => `# bash completion for sluice
_sluice() {
    local word line current=\${COMP_WORDS[COMP_CWORD]} replies
    local -a words=()
    # Of --quality=low bash makes three words.
    for word in "\${COMP_WORDS[@]:1:COMP_CWORD}"; do
        [[ $word == = ]] || words+=("$word")
    done
    if [[ $current == = ]]; then current=; words+=(""); fi
    COMPREPLY=()
    replies=$(${program} complete -- "\${words[@]}" 2>/dev/null) || return
    while IFS=$'\\t' read -r word line; do
        [[ $word != :* && $word == "$current"* ]] && COMPREPLY+=("$word")
    done <<<"$replies"
    # The last line says whether names of files may come here.
    [[ $replies == *:0 ]] || compopt +o default 2>/dev/null
}
complete -o default -F _sluice sluice
`;

/** Prints the script that a shell reads once; it calls `program complete -- WORDS`. */
export function printCompletionScript(shell: (typeof shells)[number], program: string): void {
  if (shell === 'bash') process.stdout.write(bashScript(program));
  else t.setup('sluice', program, shell);
}
