/** What pdfkit's `ref()` returns: an indirect object that is numbered at once and written later. */
export interface PdfReference {
  readonly id: number;
  readonly gen: number;
  /** Where the object begins in the file. */
  offset: number;
  end(data?: Uint8Array): void;
}

/**
 * The parts of a pdfkit document that pdfkit itself writes objects with. They are not in its types; `document.test.ts`
 * fails when a new version moves them.
 */
export interface PdfkitInternals {
  /** Bytes written so far. */
  _offset: number;
  /** The document's identifier in the trailer: 16 bytes. */
  _id: Uint8Array;
  /** Writes XMP metadata, which is nothing but dates and program names. */
  endMetadata(): void;
  /** Writes a line, or bytes as they are. */
  _write(data: string | Uint8Array): void;
  /** Enters an object that has been written into the cross-reference table. */
  _refEnd(reference: PdfReference): void;
  /** The catalogue, whose tree of pages may be put in another order before the end. */
  readonly _root: {
    readonly data: { Metadata?: PdfReference; readonly Pages: { readonly data: { readonly Kids: PdfReference[] } } };
  };
  readonly page: { readonly dictionary: { readonly data: Record<string, unknown> } };
}

export function pdfkitInternals(kit: PDFKit.PDFDocument): PdfkitInternals {
  return kit as unknown as PdfkitInternals;
}

/** PDF's syntax for a value: strings are names, references print themselves. */
export function pdfSyntax(value: unknown): string {
  if (typeof value === 'string') return `/${value}`;
  if (typeof value === 'number') return String(value);
  if (Array.isArray(value)) return `[${value.map(pdfSyntax).join(' ')}]`;
  if (isReference(value)) return `${value.id} 0 R`;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([key, entry]) => `/${key} ${pdfSyntax(entry)}`);
    return `<<${entries.join('\n')}>>`;
  }
  throw new TypeError(`no PDF syntax for ${typeof value}`);
}

function isReference(value: unknown): value is PdfReference {
  return typeof value === 'object' && value !== null && 'id' in value && 'gen' in value;
}
