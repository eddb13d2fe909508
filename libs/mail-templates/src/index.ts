export {
  encodeLiterals,
  fillHtml,
  fillText,
  namesIn,
  parseParts,
  type CompiledTemplate,
  type Encode,
  type Part,
} from './parts.ts';
export {
  isTemplateKey,
  openTemplates,
  templateCounts,
  TooManyTemplatesError,
  type TemplateHead,
  type TemplateStore,
} from './store.ts';
export {
  canonicalLocale,
  fillTemplate,
  localeFor,
  type FilledTemplate,
  type TemplateDefinition,
  type TemplateSource,
  type TemplateVersion,
} from './template.ts';
export { declaredVariables, exampleValues, type OwnVariable, type OwnVariables } from './variables.ts';
