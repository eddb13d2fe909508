import { isMailTemplateName, mailTemplateNames, type TemplateVariables } from '@sluice/contracts';
import { declaredVariables, type TemplateStore } from '@sluice/mail-templates';
import { invalidField } from '../../errors.ts';

/** A template of an account, as a mail of it is checked and kept: the version that it had when it was asked for. */
export interface OwnTemplate {
  readonly version: number;
  readonly variables: TemplateVariables;
}

/**
 * Finds the template of a mail among those of its account.
 *
 * @returns undefined for one that is shipped.
 * @throws {GatewayError} `invalid_request` when there is neither.
 */
export async function findTemplate(
  templates: TemplateStore,
  account: string,
  name: string,
): Promise<OwnTemplate | undefined> {
  if (isMailTemplateName(name)) return undefined;
  const found = await templates.version(account, name);
  if (found === undefined) {
    throw invalidField(
      '/template',
      `must be one of ${mailTemplateNames.join(', ')}, or one of your own (PUT /v1/templates/NAME)`,
    );
  }
  return { version: found.version, variables: declaredVariables(found.definition.variables) };
}
