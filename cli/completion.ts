import { type Command, type Option } from 'commander';

import { logLevels } from '../common/log.js';
import { eventTypes } from './follow.js';

/** What help calls the values that only the network knows. */
export type NameKind = 'NODE' | 'PORT' | 'SWITCH' | 'MAP';

const nameKinds: readonly string[] = ['NODE', 'PORT', 'SWITCH', 'MAP'] satisfies readonly NameKind[];
export const shells = ['bash', 'zsh', 'fish'] as const;
const fixedValues: Readonly<Record<string, readonly string[]>> = {
  LEVEL: logLevels,
  TYPES: eventTypes,
  SHELL: shells,
};
/** More help nobody. */
const maximumCandidates = 1000;

/** The place that is being completed. */
interface Place {
  readonly command: Command;
  /** The option whose value it is; undefined when it is none's. */
  readonly option: Option | undefined;
  /** Arguments of the command before it. */
  readonly position: number;
}

/**
 * What the last of `words` (those after `iovn`; it may be empty) can become, sorted. `names` is asked only where it takes a
 * name; none mean that the shell should offer files.
 */
export async function complete(
  program: Command,
  words: readonly string[],
  names: (kind: NameKind) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  const current = words.at(-1) ?? '';
  const { command, option, position } = place(program, words.slice(0, -1));
  const valuesOf = async (name: string): Promise<readonly string[]> =>
    isNameKind(name) ? names(name) : (fixedValues[name] ?? []);
  const offered = async (): Promise<readonly string[]> => {
    if (option !== undefined) return valuesOf(valueName(option));
    if (current.startsWith('-')) return optionsOf(command).flatMap(({ long }) => long ?? []);
    const { registeredArguments: expected } = command;
    const argument = expected[position] ?? expected.find(({ variadic }) => variadic);
    const values = argument === undefined ? [] : await valuesOf(argument.name());
    return [...subcommands(command).map((each) => each.name()), ...values];
  };
  const fitting = (await offered()).filter((each) => each.startsWith(current) && /^[\x21-\x7e]+$/.test(each));
  return [...new Set(fitting)].sort().slice(0, maximumCandidates);
}

function place(program: Command, words: readonly string[]): Place {
  let command = program;
  let position = 0;
  let option: Option | undefined;
  for (const word of words) {
    if (option !== undefined) option = undefined;
    else if (word.startsWith('-')) {
      const found = optionsOf(command).find(({ long, short }) => word === long || word === short);
      option = found?.required === true ? found : undefined;
    } else {
      const next = subcommands(command).find((each) => each.name() === word);
      if (next === undefined) position += 1;
      else command = next;
    }
  }
  return { command, option, position };
}

function subcommands(command: Command): readonly Command[] {
  return command.createHelp().visibleCommands(command);
}

/** Its own and those that hold for all. */
function optionsOf(command: Command): readonly Option[] {
  const help = command.createHelp();
  return [...help.visibleOptions(command), ...help.visibleGlobalOptions(command)];
}

function valueName({ flags }: Option): string {
  return /<(.+)>$/.exec(flags)?.[1] ?? '';
}

function isNameKind(name: string): name is NameKind {
  return nameKinds.includes(name);
}

/** What a shell runs to have `iovn` completed. */
export const completionScripts: Readonly<Record<(typeof shells)[number], string>> = {
  /* Bash cuts words at colons, too: the line is cut again, and of what is offered the part before the last colon left out. */
  bash: `_iovn() {
  local line="\${COMP_LINE:0:COMP_POINT}" words current prefix= word
  read -ra words <<<"$line"
  [[ "$line" == *[[:space:]] ]] && words+=('')
  current="\${words[-1]}"
  [[ "$current" == *:* ]] && prefix="\${current%:*}:"
  COMPREPLY=()
  while IFS= read -r word; do
    COMPREPLY+=("\${word#"$prefix"}")
  done < <("\${words[0]}" --complete "\${words[@]:1}" 2>/dev/null)
}
complete -o default -F _iovn iovn
`,
  zsh: `#compdef iovn
_iovn() {
  local -a offered
  offered=("\${(@f)$("\${words[1]}" --complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  offered=(\${offered:#})
  if (( \${#offered} )); then
    compadd -a offered
  else
    _files
  fi
}
compdef _iovn iovn
`,
  fish: `function __iovn_complete
  set -l words (commandline -opc) (commandline -ct)
  $words[1] --complete $words[2..-1] 2>/dev/null
end
complete -c iovn -a '(__iovn_complete)'
`,
};
