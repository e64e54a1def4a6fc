/** Tells on standard output what is done and what came of it. In colour on a terminal only. */
export class Narrator {
  readonly #colours: boolean;
  #steps = 0;

  constructor(colours = process.stdout.isTTY && process.env['NO_COLOR'] === undefined) {
    this.#colours = colours;
  }

  title(text: string): void {
    this.#print(this.#styled('1', text));
  }

  step(text: string): void {
    this.#steps += 1;
    this.#print(`\n${this.#styled('1;36', `${this.#steps}. ${text}`)}`);
  }

  say(text: string): void {
    this.#print(`   ${text}`);
  }

  /** A command as an operator would type it, on the machine where it runs. */
  command(machine: string, command: string): void {
    this.#print(`   ${this.#styled('2', `${machine}#`)} ${this.#styled('33', command)}`);
  }

  output(text: string): void {
    for (const line of text.split('\n').filter((each) => each.trim() !== '')) {
      this.#print(`   ${this.#styled('2', '│')} ${line}`);
    }
  }

  holds(text: string): void {
    this.#print(`   ${this.#styled('32', '✔')} ${text}`);
  }

  fails(text: string): void {
    this.#print(`   ${this.#styled('31', '✘')} ${text}`);
  }

  #styled(code: string, text: string): string {
    return this.#colours ? `\u001b[${code}m${text}\u001b[0m` : text;
  }

  #print(line: string): void {
    process.stdout.write(`${line}\n`);
  }
}
