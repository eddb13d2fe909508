/** The files of a mail. Servers take 10 MB to 25 MB altogether, and base64 makes a third more of what is attached. */
export const mailAttachmentLimits = { maxFiles: 5, maxBytes: 5_000_000 } as const;

/** What may be attached, and how such a file's name ends: nothing that a mail program runs. */
export const mailAttachmentTypes = {
  'application/pdf': ['pdf'],
  'image/png': ['png'],
  'image/jpeg': ['jpg', 'jpeg'],
  'image/gif': ['gif'],
  'image/webp': ['webp'],
  'text/plain': ['txt'],
  'text/csv': ['csv'],
  'text/calendar': ['ics'],
  'application/vnd.openxmlformats-officedocument.wordprocessingml.document': ['docx'],
  'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet': ['xlsx'],
  'application/vnd.openxmlformats-officedocument.presentationml.presentation': ['pptx'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type MailAttachmentType = keyof typeof mailAttachmentTypes;

export const isMailAttachmentType = (type: string): type is MailAttachmentType =>
  Object.hasOwn(mailAttachmentTypes, type);

/** Why a file must not go out under this name; undefined when it may. */
export function attachmentNameProblem(fileName: string, type: MailAttachmentType): string | undefined {
  // Control characters reach the header; a direction override shows the end of a name as its middle.
  if (!/^[^\p{Cc}\p{Bidi_Control}/\\"<>:|?*]{1,100}$/u.test(fileName) || !fileName.isWellFormed()) {
    return 'must be 1 to 100 characters of a file name, without a path';
  }
  // A run of spaces, or ones that are no space to a program, push the end of a name out of sight.
  if (/^\s|\s$|\s{2}|[\p{Zl}\p{Zp}\u3164\uffa0\u2800\u200b\ufeff]/u.test(fileName)) {
    return 'must not begin or end with a space, nor have two of them in a row or one that cannot be seen';
  }
  const endings: readonly string[] = mailAttachmentTypes[type];
  const ending = /\.([^.]+)$/.exec(fileName)?.[1]?.toLowerCase() ?? '';
  return endings.includes(ending) ? undefined : `must end in .${endings.join(' or .')}, as ${type} does`;
}
