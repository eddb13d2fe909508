/** Which links a caller may put into a mail. Links of ours are not asked. */
export interface LinkPolicy {
  /** Plain http is for a developer's own machine. */
  readonly allowHttp: boolean;
  /** Hosts that may be linked to, with their subdomains; any host when absent. */
  readonly hosts?: readonly string[] | undefined;
}

/**
 * Whether a link is one the policy lets through. A link of a caller inside a trusted
 * template is what phishing needs, so a deployment can name the hosts that may be linked to.
 */
export function mayLink(link: string, { allowHttp, hosts }: LinkPolicy): boolean {
  if (!URL.canParse(link)) return false;
  const { protocol, hostname } = new URL(link);
  if (protocol !== 'https:' && !(allowHttp && protocol === 'http:')) return false;
  return hosts === undefined || hosts.some((host) => hostname === host || hostname.endsWith(`.${host}`));
}
