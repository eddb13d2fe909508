/** One variable of a mail template, as data: the gateway checks requests by it, the email service fills templates by it. */
export interface TemplateVariable {
  /** `line` is text on one line, `lines` text that keeps its line breaks, `link` an http(s) URL, `flag` a boolean. */
  readonly kind: 'line' | 'lines' | 'link' | 'flag';
  /** UTF-16 units after white space was tidied up. Links have 2,048. */
  readonly maxChars?: number;
  readonly required?: true;
  /** What stands in its place when it is not given. */
  readonly default?: string | boolean;
  /**
   * Who gives it; the caller unless it says otherwise. `service`: a caller's value is dropped, because it would say what
   * is not true ("It is attached to this mail"). `document`: the service, when the mail carries a document of ours.
   */
  readonly from?: 'service' | 'document';
}

/** The variables of one template, by name. A name that is not declared is dropped from a request. */
export type TemplateVariables = Readonly<Record<string, TemplateVariable>>;

/** The templates that are shipped. Callers choose one and fill it in; text of their own is never sent. */
export const mailTemplates = {
  welcome: {
    name: { kind: 'line', maxChars: 100, required: true },
    actionUrl: { kind: 'link' },
  },
  notification: {
    message: { kind: 'lines', maxChars: 5_000, required: true },
    title: { kind: 'line', maxChars: 150, default: 'A message for you' },
    name: { kind: 'line', maxChars: 100 },
    actionUrl: { kind: 'link' },
    actionLabel: { kind: 'line', maxChars: 60, default: 'Have a look' },
    unsubscribeUrl: { kind: 'link', from: 'service' },
  },
  'image-ready': {
    link: { kind: 'link', required: true, from: 'document' },
    jobId: { kind: 'line', maxChars: 128, required: true, from: 'document' },
    name: { kind: 'line', maxChars: 100 },
    facts: { kind: 'line', maxChars: 100, from: 'service' },
    expires: { kind: 'line', maxChars: 60, from: 'service' },
    attached: { kind: 'flag', default: false, from: 'service' },
  },
} as const satisfies Record<string, TemplateVariables>;

export type MailTemplateName = keyof typeof mailTemplates;

export const mailTemplateNames = Object.keys(mailTemplates) as readonly MailTemplateName[];

export function isMailTemplateName(name: string): name is MailTemplateName {
  return Object.hasOwn(mailTemplates, name);
}

/** What is wrong with one variable. Never says its value: problems are logged, values are personal. */
export interface VariableProblem {
  readonly name: string;
  /** Goes behind the name: `is missing`. */
  readonly detail: string;
}

/** Values that a template can be filled with: checked, tidied up, defaults in place. */
export type TemplateValues = Readonly<Record<string, string | boolean>>;

export type CheckedVariables =
  | { readonly values: TemplateValues; readonly problems?: undefined }
  | { readonly problems: readonly VariableProblem[]; readonly values?: undefined };

/** Checks every variable that is declared, and reports all problems at once. */
export function checkVariables(
  declared: TemplateVariables,
  given: Readonly<Record<string, unknown>>,
): CheckedVariables {
  // Without a prototype: a hole may be called `constructor`.
  const values = Object.create(null) as Record<string, string | boolean>;
  const problems: VariableProblem[] = [];
  for (const [name, variable] of Object.entries(declared)) {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    if (value === undefined) {
      if (variable.required) problems.push({ name, detail: 'is missing' });
      else if (variable.default !== undefined) values[name] = variable.default;
      continue;
    }
    const checked = checkValue(variable, value);
    if ('problem' in checked) problems.push({ name, detail: checked.problem });
    else values[name] = checked.value;
  }
  return problems.length > 0 ? { problems } : { values };
}

/**
 * What keeps a caller's variables from filling a template: the same check that the email service makes, without what the
 * service gives itself.
 *
 * @param withDocument whether the mail carries a document of ours.
 */
export function callerProblems(
  declared: TemplateVariables,
  given: Readonly<Record<string, unknown>>,
  withDocument = false,
): readonly VariableProblem[] {
  const checked = checkVariables(
    Object.fromEntries(
      Object.entries(declared).flatMap(([name, variable]) => {
        if (variable.from === 'service' || (variable.from === 'document' && withDocument)) return [];
        return [[name, variable]];
      }),
    ),
    given,
  );
  return checked.problems ?? [];
}

/** Whether a value may stand in a link of a mail: an http(s) URL without credentials. */
export function isMailLink(value: string): boolean {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  return (url?.protocol === 'https:' || url?.protocol === 'http:') && url.username === '' && url.password === '';
}

const LINK_MAX_CHARS = 2_048;

function checkValue(variable: TemplateVariable, value: unknown): { value: string | boolean } | { problem: string } {
  if (variable.kind === 'flag') return typeof value === 'boolean' ? { value } : { problem: 'must be true or false' };
  if (typeof value !== 'string') return { problem: 'must be a string' };
  if (variable.kind === 'link') {
    if (value.length > LINK_MAX_CHARS) return { problem: `must be at most ${LINK_MAX_CHARS} characters` };
    if (!isMailLink(value)) return { problem: 'must be an http(s) URL without credentials' };
    // Parsed and written anew: a parser forgives control characters, line breaks and backslashes, and each mail program
    // forgives them in its own way. So the text part and the HTML part would show other links than the one checked.
    return { value: new URL(value).href };
  }
  const text = variable.kind === 'lines' ? plain(value) : plain(value).replace(/\s+/g, ' ');
  if (text === '') return { problem: 'must not be empty' };
  if (variable.maxChars !== undefined && text.length > variable.maxChars) {
    return { problem: `must be at most ${variable.maxChars} characters` };
  }
  return { value: text };
}

// What a caller writes into a mail never carries control characters or bidirectional overrides: the first could reach
// a header, the second could show a link's text backwards.
const HIDDEN = /(?![\n\t])\p{Cc}|\p{Bidi_Control}|\ufeff/gu;
const plain = (value: string): string => value.toWellFormed().replace(/\r\n?/g, '\n').replace(HIDDEN, '').trim();
